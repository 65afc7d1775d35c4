//! What `check` tells: version, place, points, and what stands in the way of a write, each with its remedy.

use qdrant_client::qdrant::CollectionStatus;
use tidemark_log::LogIdentity;
use tidemark_sink_core::report::{grouped, told};
use tidemark_sink_core::{SinkError, StoreReport};

use crate::client::Client;
use crate::collections::Found;
use crate::sink::QdrantSink;

/// The oldest release with all that is used: the universal query.
const VERSION_MIN: (u32, u32) = (1, 10);

/// Looks at the server and the store.
pub(crate) async fn check(sink: &QdrantSink, log: LogIdentity) -> StoreReport {
    let place = sink.options.place();
    let mut problems = Vec::new();
    let reached = async {
        let client = Client::new(&sink.options)?;
        let version = client.version().await?;
        Ok::<_, SinkError>((client, version))
    };
    let (client, version) = match reached.await {
        Ok(reached) => reached,
        Err(error) => {
            problems.push(told(&error));
            return StoreReport { summary: format!("{place}, not reached"), problems };
        }
    };
    if version_of(&version).is_some_and(|version| version < VERSION_MIN) {
        let (major, minor) = VERSION_MIN;
        problems.push(format!("Qdrant {version} is older than tidemark needs; update it to {major}.{minor} or newer"));
    }
    let state = match look(sink, &client, log, &mut problems).await {
        Ok(state) => state,
        Err(error) => {
            problems.push(told(&error));
            "rows not counted".to_owned()
        }
    };
    let place = place.trim_start_matches("Qdrant").to_owned();
    StoreReport { summary: format!("Qdrant {version}{place}, {state}"), problems }
}

async fn look(sink: &QdrantSink, client: &Client, log: LogIdentity, problems: &mut Vec<String>) -> Result<String, SinkError> {
    sink.kinds()?;
    let found = Found::look(client).await?;
    if let Err(taken) = found.refuse_others(&sink.wanted) {
        problems.push(told(&taken));
    }
    let mut meta = sink.meta(client);
    let Some(store) = meta.store().await? else { return Ok("not there yet: the first start makes it".to_owned()) };
    problems.extend(store.foreign(meta.place(), log));
    // What a write needs, in a point that every opening writes over.
    let gate = if meta.probe().await? { "" } else { ", written in order: conditions of upserts need 1.16" };
    let mut rows = 0;
    for name in store.collections.values() {
        let Some(info) = client.describe(name).await? else {
            problems
                .push(format!("the collection `{name}` is gone; it is made again and filled from the log when the sink runs"));
            continue;
        };
        if info.status() == CollectionStatus::Red {
            let error = info.optimizer_status.map_or_else(String::new, |status| status.error);
            problems.push(format!("the collection `{name}` is red ({error}); look into the server's log"));
        }
        rows += client.count(name).await?;
    }
    Ok(format!("{} rows{gate}", grouped(rows)))
}

/// Major and minor number of `1.17.0`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split(['.', '-']).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(version_of("1.17.0"), Some((1, 17)));
        assert_eq!(version_of("v1.9.2-dev"), Some((1, 9)));
        assert!(version_of("1.9.0") < version_of("1.10.0"));
        assert_eq!(version_of("nightly"), None);
    }
}
