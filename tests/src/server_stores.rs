//! The stores on servers, as anybody can read and harm them: by the servers' own languages and official clients.
//!
//! [`SERVER_STORES`] is the list of those that there are; another one is another line.

use clickhouse::Client;
use qdrant_client::qdrant::{
    DeletePointsBuilder, PointId, PointsIdsList, RetrievedPoint, ScrollPointsBuilder, SetPayloadPointsBuilder,
};
use qdrant_client::{Payload, Qdrant};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tidemark_test_support::Kind;

use crate::place::Place;
use crate::servers::run_script;
use crate::stores::Dump;

/// A kind of store on a server.
#[derive(Debug, Clone, Copy)]
pub struct ServerStore {
    /// Role.
    pub role: &'static str,
    /// Its server.
    pub kind: Kind,
    /// Keys below `sinks.<role>` and their values, for a server and a name that the store has there.
    settings: fn(&str, &str) -> Vec<(&'static str, String)>,
    /// Every cell of every row that says something, by table, sorted.
    dump: fn(&str, &str) -> Dump,
    /// What nobody should do: rows gone, altered, and raised above every version to come.
    damage: fn(&str, &str),
}

/// All kinds.
pub const SERVER_STORES: [ServerStore; 4] = [
    ServerStore { role: "relational", kind: Kind::Postgres, settings: postgres, dump: dump_postgres, damage: damage_postgres },
    ServerStore { role: "graph", kind: Kind::Nebula, settings: nebula, dump: dump_nebula, damage: damage_nebula },
    ServerStore { role: "vector", kind: Kind::Qdrant, settings: qdrant, dump: dump_qdrant, damage: damage_qdrant },
    ServerStore {
        role: "analytics",
        kind: Kind::ClickHouse,
        settings: clickhouse,
        dump: dump_clickhouse,
        damage: damage_clickhouse,
    },
];

/// The servers of all kinds of stores.
#[derive(Debug, Clone)]
pub struct Servers {
    addresses: Vec<String>,
}

impl Servers {
    /// Where they are; `None` where one of them is not to be had, and then `test` is listed as skipped.
    pub fn of(test: &str) -> Option<Self> {
        let addresses = SERVER_STORES.map(|store| store.kind.address(test));
        Some(Self { addresses: addresses.into_iter().collect::<Option<_>>()? })
    }

    /// Where the server of this kind is.
    ///
    /// # Panics
    /// When no store is kept by such a server.
    pub fn address(&self, kind: Kind) -> &str {
        &self.addresses[index(kind)]
    }

    /// The same with another server of this kind.
    #[must_use]
    pub fn with(mut self, kind: Kind, address: &str) -> Self {
        address.clone_into(&mut self.addresses[index(kind)]);
        self
    }

    /// Puts all these roles of a place on their servers, under this name.
    pub fn keep(&self, place: &mut Place, name: &str) {
        for store in &SERVER_STORES {
            for (key, value) in (store.settings)(self.address(store.kind), name) {
                place.set(&format!("TIDEMARK__SINKS__{}__{key}", store.role.to_uppercase()), &value);
            }
        }
    }

    /// What a store of this name holds.
    pub fn dump(&self, store: &ServerStore, name: &str) -> Dump {
        (store.dump)(self.address(store.kind), name)
    }

    /// Does harm to it.
    pub fn damage(&self, store: &ServerStore, name: &str) {
        (store.damage)(self.address(store.kind), name);
    }
}

fn index(kind: Kind) -> usize {
    SERVER_STORES.iter().position(|store| store.kind == kind).unwrap_or_else(|| panic!("{} keeps no store", kind.name()))
}

/// A name for this place's log and stores that no other test has.
pub fn name_of(place: &Place) -> String {
    format!("tidemark_test_{}_{}", std::process::id(), place.port())
}

/// Puts the log of a place on the broker, under this name.
pub fn keep_log_on_kafka(place: &mut Place, broker: &str, name: &str) {
    for (key, value) in [("KIND", "kafka"), ("BROKERS", broker), ("PREFIX", name), ("PARTITIONS", "3")] {
        place.set(&format!("TIDEMARK__LOG__{key}"), value);
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn postgres(address: &str, name: &str) -> Vec<(&'static str, String)> {
    vec![("KIND", "postgres".to_owned()), ("URL", address.to_owned()), ("SCHEMA", name.to_owned())]
}

fn dump_postgres(address: &str, name: &str) -> Dump {
    const TABLES: &str = "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'version' \
                          WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition";
    block_on(async {
        let mut connection = PgConnection::connect(address).await.expect("Postgres");
        let tables = sqlx::query(TABLES).bind(name).fetch_all(&mut connection).await.expect("the tables of a schema");
        let mut dump = Dump::new();
        for table in tables {
            let table: String = table.get(0);
            let sql = format!("SELECT t::text FROM \"{name}\".\"{table}\" t ORDER BY 1");
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.expect("the rows of a table");
            dump.insert(table, rows.iter().map(|row| row.get(0)).collect());
        }
        dump
    })
}

fn damage_postgres(address: &str, name: &str) {
    block_on(async {
        let mut connection = PgConnection::connect(address).await.expect("Postgres");
        for sql in [
            "DELETE FROM customer WHERE customer_code LIKE '%1'",
            "UPDATE customer SET vip_level = 'NONE', version = version + 1000000 WHERE customer_code LIKE '%2'",
            "DELETE FROM consumption",
        ] {
            let sql = sql.replace("FROM ", &format!("FROM \"{name}\".")).replace("UPDATE ", &format!("UPDATE \"{name}\"."));
            let done = sqlx::query(AssertSqlSafe(sql.clone())).execute(&mut connection).await;
            assert!(done.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected() > 0, "{sql}");
        }
    });
}

fn nebula(address: &str, name: &str) -> Vec<(&'static str, String)> {
    vec![
        ("KIND", "nebula".to_owned()),
        ("ADDRESSES", address.to_owned()),
        ("PASSWORD", "nebula".to_owned()),
        ("SPACE", name.to_owned()),
    ]
}

/// The rows of a statement, as the official client prints them.
///
/// # Panics
/// When the server refuses it.
pub fn ask_nebula(address: &str, name: &str, statement: &str) -> Vec<String> {
    let output = run_script(Kind::Nebula, "ask.py", &[address, name, statement]);
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("Python writes UTF-8").lines().map(str::to_owned).collect()
}

fn dump_nebula(address: &str, name: &str) -> Dump {
    const VERTICES: [&str; 4] = ["institution", "customer", "consumption", "tidemark_edge"];
    let sorted = |statement: &str| {
        let mut rows = ask_nebula(address, name, statement);
        rows.sort();
        rows
    };
    let mut dump: Dump =
        VERTICES.into_iter().map(|tag| (tag.to_owned(), sorted(&format!("MATCH (v:`{tag}`) RETURN v LIMIT 1000000")))).collect();
    dump.insert("edges".to_owned(), sorted("MATCH ()-[e]->() RETURN e LIMIT 1000000"));
    dump
}

fn damage_nebula(address: &str, name: &str) {
    let ids = ask_nebula(address, name, "MATCH (v:`customer`) RETURN id(v) LIMIT 1000000");
    let ids: Vec<String> = ids.iter().map(|row| row.trim_matches(['[', ']', '"', '\'']).to_owned()).collect();
    let ending = |digit: char| {
        let id = ids.iter().find(|id| id.ends_with(digit));
        id.unwrap_or_else(|| panic!("no customer ends with {digit}: {:?}", ids.first()))
    };
    for statement in [
        format!("DELETE VERTEX \"{}\" WITH EDGE", ending('1')),
        format!("UPDATE VERTEX ON `customer` \"{}\" SET `vip_level` = \"NONE\", `version` = 4503599627370496", ending('2')),
    ] {
        ask_nebula(address, name, &statement);
    }
}

fn qdrant(address: &str, name: &str) -> Vec<(&'static str, String)> {
    vec![("KIND", "qdrant".to_owned()), ("URL", address.to_owned()), ("PREFIX", format!("{name}_"))]
}

fn qdrant_client(address: &str) -> Qdrant {
    Qdrant::from_url(address).skip_compatibility_check().build().expect("an address")
}

async fn points(client: &Qdrant, collection: &str) -> Vec<RetrievedPoint> {
    let request = ScrollPointsBuilder::new(collection).limit(1_000_000).with_payload(true).with_vectors(true);
    client.scroll(request).await.unwrap_or_else(|error| panic!("{collection}: {error}")).result
}

fn key_of(point: &RetrievedPoint) -> String {
    point.payload["key"].as_str().expect("a key is text").clone()
}

fn dump_qdrant(address: &str, name: &str) -> Dump {
    block_on(async {
        let client = qdrant_client(address);
        let mut dump = Dump::new();
        for collection in ["customer_profiles", "medical_knowledge"] {
            let found = points(&client, &format!("{name}_{collection}")).await;
            let line = |point: RetrievedPoint| {
                let vector = format!("{:?}", point.vectors);
                let payload = point.payload.into_iter().map(|(field, value)| (field, value.into_json()));
                let mut payload: serde_json::Map<String, Value> = payload.collect();
                // Which request wrote it is the store's own affair.
                payload.remove("tidemark_turn");
                format!("{} {vector}", Value::Object(payload))
            };
            let mut lines: Vec<String> = found.into_iter().map(line).collect();
            lines.sort();
            dump.insert(collection.to_owned(), lines);
        }
        dump
    })
}

fn damage_qdrant(address: &str, name: &str) {
    block_on(async {
        let (client, collection) = (qdrant_client(address), format!("{name}_customer_profiles"));
        let found = points(&client, &collection).await;
        let ending = |digit: char| -> PointsIdsList {
            let ids: Vec<PointId> =
                found.iter().filter(|point| key_of(point).ends_with(digit)).filter_map(|point| point.id.clone()).collect();
            assert!(!ids.is_empty(), "no customer ends with {digit}");
            PointsIdsList { ids }
        };
        let gone = DeletePointsBuilder::new(&*collection).points(ending('1')).wait(true);
        client.delete_points(gone).await.expect("points that are there");
        let payload = serde_json::json!({"vip_level": "NONE", "version": 4_503_599_627_370_496_u64});
        let payload = Payload::try_from(payload).expect("an object");
        let altered = SetPayloadPointsBuilder::new(&*collection, payload).points_selector(ending('2')).wait(true);
        client.set_payload(altered).await.expect("points that are there");
    });
}

fn clickhouse(address: &str, name: &str) -> Vec<(&'static str, String)> {
    vec![("KIND", "clickhouse".to_owned()), ("URL", address.to_owned()), ("DATABASE", name.to_owned())]
}

fn dump_clickhouse(address: &str, name: &str) -> Dump {
    block_on(async {
        let client = Client::default().with_url(address).with_database(name);
        let lines = async |sql: &str| -> Vec<String> {
            let bytes = client.query_raw(sql).fetch_bytes("TSV").expect("a query").collect().await;
            let bytes = bytes.unwrap_or_else(|error| panic!("{sql}: {error}"));
            String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
        };
        let mut dump = Dump::new();
        for table in lines("SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%\\_versions'").await
        {
            // Rows that are deleted show only by the version of their mark.
            let mut rows = lines(&format!("SELECT * FROM {table} FINAL")).await;
            rows.extend(lines(&format!("SELECT key, max(version) FROM {table} GROUP BY key")).await);
            rows.sort();
            dump.insert(table, rows);
        }
        dump
    })
}

fn damage_clickhouse(address: &str, name: &str) {
    block_on(async {
        let client = Client::default().with_url(address).with_database(name);
        for sql in [
            "ALTER TABLE customer_versions DELETE WHERE customer_code LIKE '%1' SETTINGS mutations_sync = 2",
            "INSERT INTO customer_versions SELECT * REPLACE('NONE' AS vip_level, version + 1000000 AS version) \
             FROM customer_versions FINAL WHERE customer_code LIKE '%2'",
            "ALTER TABLE consumption_versions DELETE WHERE 1 SETTINGS mutations_sync = 2",
        ] {
            client.query_raw(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    });
}
