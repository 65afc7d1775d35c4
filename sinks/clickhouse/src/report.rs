//! What `check` tells: version, database, rows, and what stands in the way of a write, each with its remedy.

use tidemark_log::LogIdentity;
use tidemark_sink_core::StoreReport;
use tidemark_sink_core::report::grouped;
use uuid::Uuid;

use crate::ClickHouseOptions;
use crate::client::Store;
use crate::encoding::Encoder;
use crate::failure::StoreError;
use crate::meta::Meta;
use crate::migration;
use crate::statement::{comment, literal, quoted};
use crate::table::{Table, insert_into};

/// The oldest release with all that is used: `ReplacingMergeTree` with a mark of deleted rows, hidden by `FINAL`, and comments on views.
const VERSION_MIN: (u32, u32) = (24, 3);

/// Looks at the server and the store.
pub(crate) async fn check(options: &ClickHouseOptions, tables: &[Table], log: LogIdentity) -> StoreReport {
    let place = Store::place_of(options);
    let store = match Store::connect(options).await {
        Ok(store) => store,
        Err(error) => {
            let problems = vec![format!("reaching {place}: {error}")];
            return StoreReport { summary: format!("ClickHouse, {place}, not reached"), problems };
        }
    };
    let mut problems = Vec::new();
    if version_of(&store.version).is_some_and(|version| version < VERSION_MIN) {
        let (major, minor) = VERSION_MIN;
        problems
            .push(format!("ClickHouse {} is older than tidemark needs; update it to {major}.{minor} or newer", store.version));
    }
    let state = match look(&store, tables, log, &mut problems).await {
        Ok(state) => state,
        Err(error) => {
            problems.push(format!("checking {place}: {error}"));
            "rows not counted".to_owned()
        }
    };
    StoreReport { summary: format!("ClickHouse {}, {place}, {state}", store.version), problems }
}

async fn look(store: &Store, tables: &[Table], log: LogIdentity, problems: &mut Vec<String>) -> Result<String, StoreError> {
    let sql = "SELECT name, value FROM system.settings WHERE name IN ('readonly', 'allow_ddl')";
    for (name, value) in store.rows_outside::<(String, String)>(sql).await? {
        match (name.as_str(), value.as_str()) {
            ("readonly", "0") => {}
            ("readonly", _) => problems.push(format!("the user's profile has readonly = {value}; set it to 0 for this user")),
            (_, "0") => problems.push("the user's profile has allow_ddl = 0; set it to 1 for this user".to_owned()),
            _ => {}
        }
    }
    if !migration::is_there(store).await? {
        return Ok("not there yet: the first start makes it".to_owned());
    }
    problems.extend(Meta::read(store).await?.foreign(&store.place, log));
    if let Err(error) = try_write(store).await {
        problems.push(format!("a table cannot be made, written, read and dropped in {}: {error}", store.place));
    }
    let names = tables.iter().map(|table| literal(table.name())).chain([literal("")]).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT sum(ifNull(total_rows, 0)) FROM system.tables WHERE database = {} AND name IN ({names})",
        literal(&store.database)
    );
    let rows: Vec<u64> = store.rows(&sql).await?;
    Ok(format!("{} rows of all versions", grouped(rows.first().copied().unwrap_or(0))))
}

/// What the sink does, on a table of its own that is gone afterwards.
async fn try_write(store: &Store) -> Result<(), StoreError> {
    let name = format!("tidemark_check_{}", Uuid::new_v4().simple());
    store
        .execute(&format!(
            "CREATE TABLE {}(name String)\nENGINE = MergeTree\nORDER BY name\n{}",
            quoted(&name),
            comment("a look")
        ))
        .await?;
    let used = async {
        let mut encoder = Encoder::default();
        encoder.text("checked");
        store.insert(&insert_into(&name, ["name"]), &encoder.bytes).await?;
        store.rows::<String>(&format!("SELECT name FROM {}", quoted(&name))).await
    };
    let used = used.await;
    store.execute(&format!("DROP TABLE {} SYNC", quoted(&name))).await?;
    used.map(|_| ())
}

/// Year and release of `26.9.2.1`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}
