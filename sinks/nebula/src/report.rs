//! Looks at the store beside its owner: where it stands, whether it works, which version it is.

use tidemark_log::LogIdentity;
use tidemark_sink_core::report::told;
use tidemark_sink_core::{SinkError, StoreReport};

use crate::client::{ClientError, Properties, Session, Value};
use crate::failure::{Class, class_of, classify};
use crate::meta::{self, StoreRecord};
use crate::ngql::{Name, text};
use crate::render::Style;
use crate::schema;
use crate::setup::Setup;
use crate::shape::PARTITION;
use crate::shape::STORE;

/// From this version on a parameter may stand where a property's value does.
const PARAMETERS_SINCE: [u32; 2] = [3, 5];
/// The first version whose clients are like ours.
const OLDEST: [u32; 2] = [3, 0];

/// A session in the space, and whose the store is; nothing for a store that is not there or was emptied.
pub(crate) async fn beside(setup: &Setup) -> Result<Option<(Session, StoreRecord)>, SinkError> {
    let mut session = Session::new(&setup.client, None, 0);
    if !schema::names(&mut session, "SPACES").await?.iter().any(|name| name == setup.space.as_str()) {
        return Ok(None);
    }
    session.choose(&setup.space).await.map_err(|error| classify(error, "choosing the space"))?;
    if !schema::names(&mut session, "TAGS").await?.iter().any(|name| name == STORE) {
        return Ok(None);
    }
    Ok(meta::store(&mut session).await?.map(|store| (session, store)))
}

/// How texts go to these servers.
pub(crate) async fn style(session: &mut Session) -> Result<Style, SinkError> {
    let version = match oldest_version(session).await {
        Ok(version) => version.and_then(|version| numbers(&version)),
        // Not everybody may ask; literals work with any version.
        Err(ClientError::Server { .. }) => None,
        Err(error) => return Err(classify(error, "asking the graph store for its version")),
    };
    Ok(if version >= Some(PARAMETERS_SINCE) { Style::Parameters } else { Style::Literals })
}

/// The oldest version among the servers that take statements.
async fn oldest_version(session: &mut Session) -> Result<Option<String>, ClientError> {
    let reply = session.read("SHOW HOSTS GRAPH").await?;
    let Some(column) = reply.columns.iter().position(|name| name.eq_ignore_ascii_case("version")) else { return Ok(None) };
    let versions = reply.rows.iter().filter_map(|row| row.get(column)?.as_text());
    Ok(versions.min_by_key(|version| numbers(version)).map(str::to_owned))
}

/// Major and minor number of `3.8.0` or `v3.8.0-ent`.
fn numbers(version: &str) -> Option<[u32; 2]> {
    let mut parts = version.trim_start_matches('v').split(['.', '-']);
    Some([parts.next()?.parse().ok()?, parts.next()?.parse().ok()?])
}

/// Version, place, and what stands in the way of a write.
pub(crate) async fn check(setup: &Setup, log: LogIdentity) -> StoreReport {
    let mut problems = Vec::new();
    for number in 0..setup.client.addresses.len() {
        // Each address by itself: one that is away is no fault of the others, and somebody should know.
        let only = setup.alone(number);
        if let Err(error) = Session::new(&only, None, 0).ensure().await {
            problems.push(told(&classify(error, "connecting to the graph store")));
        }
    }
    let mut summary = setup.place();
    if problems.len() == setup.client.addresses.len() {
        return StoreReport { summary, problems };
    }
    let mut session = Session::new(&setup.client, None, 0);
    match oldest_version(&mut session).await {
        Ok(Some(version)) => {
            summary = format!("NebulaGraph {version}{}", summary.trim_start_matches("NebulaGraph"));
            if numbers(&version) < Some(OLDEST) {
                problems.push(format!("version {version} is too old; run NebulaGraph 3.0 or newer"));
            }
        }
        Ok(None) | Err(ClientError::Server { .. }) => {}
        Err(error) => problems.push(told(&classify(error, "asking the graph store for its version"))),
    }
    hosts(&mut session, &mut problems).await;
    match space(&mut session, setup, log, &mut problems).await {
        Ok(Some(words)) => summary.push_str(&words),
        Ok(None) => summary.push_str(", not there yet: the first start makes it"),
        Err(error) => problems.push(told(&error)),
    }
    StoreReport { summary, problems }
}

/// Storage servers that are away, or none at all.
async fn hosts(session: &mut Session, problems: &mut Vec<String>) {
    let reply = match session.read("SHOW HOSTS").await {
        Ok(reply) => reply,
        // Not everybody may ask.
        Err(ClientError::Server { code, message }) if class_of(code, &message) == Class::Permission => return,
        Err(error) => return problems.push(told(&classify(error, "asking for the storage servers"))),
    };
    let Some(column) = reply.columns.iter().position(|name| name.eq_ignore_ascii_case("status")) else { return };
    if reply.rows.is_empty() {
        problems.push("no storage server is registered; run `ADD HOSTS \"host\":9779`".to_owned());
    }
    for row in &reply.rows {
        if row.get(column).and_then(Value::as_text).is_some_and(|status| !status.eq_ignore_ascii_case("online")) {
            let host = row.first().and_then(Value::as_text).unwrap_or("?");
            problems.push(format!("the storage server {host} is not online; start it, or look into its log"));
        }
    }
}

/// What is in the space; `None` when there is none yet.
async fn space(
    session: &mut Session,
    setup: &Setup,
    log: LogIdentity,
    problems: &mut Vec<String>,
) -> Result<Option<String>, SinkError> {
    if !schema::names(session, "SPACES").await?.iter().any(|name| name == setup.space.as_str()) {
        return Ok(None);
    }
    session.choose(&setup.space).await.map_err(|error| classify(error, "choosing the space"))?;
    problems.extend(schema::foreign_ids(session, &setup.space).await?);
    let tags = schema::names(session, "TAGS").await?;
    if !tags.iter().any(|name| name == STORE) {
        return Ok(None);
    }
    match meta::store(session).await? {
        Some(store) => problems.extend(meta::foreign(&store, &setup.space, log)),
        None => return Ok(None),
    }
    // What a write needs: leave to write, and a storage server that takes it.
    let (tag, id) = (Name::fixed(PARTITION), text("tidemark:check"));
    let write = format!("INSERT VERTEX {tag} (`owner`,`positions`) VALUES {id}:({},{})", text("check"), text("{}"));
    for statement in [write, format!("DELETE VERTEX {id}")] {
        session.execute(&statement, &Properties::new()).await.map_err(|error| classify(error, "trying a write"))?;
    }
    Ok(Some(format!(", {} tags", tags.len())))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(numbers("3.8.0"), Some([3, 8]));
        assert_eq!(numbers("v3.10.1-ent"), Some([3, 10]));
        assert!(numbers("3.10.0") > numbers("3.5.0"));
        assert_eq!(numbers("nightly"), None);
        assert!(numbers("nightly") < Some([3, 0]));
    }
}
