//! Space, tags and edge types: made where missing, compared where present, widened where a property was added.
//!
//! What is made spreads to the servers by and by, so everything that was made or widened is tried with a row of its own, which is
//! taken away again; nothing else that needs it is sent before. `IF NOT EXISTS` compares names alone, so definitions are compared here.
//! On failure: a definition that does not fit is never changed; the error names the remedy.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemark_sink_core::SinkError;
use tokio::time::Instant;

use crate::client::{ClientError, Properties, Session, Value};
use crate::failure::{Class, REBUILD, class_of, classify, fatal, unavailable};
use crate::ngql::{self, Name};
use crate::shape::{Shape, Shapes};

/// Bytes of a vertex id: longer ones are hashed (see [`crate::identity`]).
pub(crate) const VID_BYTES: usize = 256;

/// How long a change of the schema may take to spread: three times the two heartbeats (of 10 s) that the manual speaks of.
const PROPAGATION: Duration = Duration::from_secs(60);
/// Pause between two looks: a fraction of a heartbeat, so that a fast server is not waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is written to see whether a change of the schema has spread.
const PROBE: &str = "tidemark:probe";

/// How a space is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpaceOptions {
    pub(crate) partitions: u32,
    pub(crate) replicas: u32,
}

/// Names of a kind (`SPACES`, `TAGS`, `EDGES`).
pub(crate) async fn names(session: &mut Session, of: &str) -> Result<Vec<String>, SinkError> {
    let reply = session.read(&format!("SHOW {of}")).await.map_err(|error| classify(error, "listing what the graph store has"))?;
    Ok(reply.rows.iter().filter_map(|row| row.first()?.as_text().map(str::to_owned)).collect())
}

/// Makes the space if it is missing, and uses it.
pub(crate) async fn enter_space(session: &mut Session, space: &Name, options: SpaceOptions) -> Result<(), SinkError> {
    if !names(session, "SPACES").await?.iter().any(|name| name == space.as_str()) {
        let SpaceOptions { partitions, replicas } = options;
        let statement = format!(
            "CREATE SPACE IF NOT EXISTS {space} (partition_num = {partitions}, replica_factor = {replicas}, vid_type = FIXED_STRING({VID_BYTES}))"
        );
        let step = format!("making the space {space}");
        session.execute(&statement, &Properties::new()).await.map_err(|error| classify(error, &step))?;
        tracing::info!(space = space.as_str(), "made the space");
    }
    let step = format!("waiting for the space {space}");
    let deadline = Instant::now() + PROPAGATION;
    while let Err(error) = session.choose(space).await {
        wait(error, &step, deadline).await?;
    }
    if let Some(problem) = foreign_ids(session, space).await? {
        return Err(fatal(problem, "vertex ids differ"));
    }
    Ok(())
}

/// Why the space's vertex ids are not ours.
pub(crate) async fn foreign_ids(session: &mut Session, space: &Name) -> Result<Option<String>, SinkError> {
    let statement = format!("DESCRIBE SPACE {space}");
    let reply = session.read(&statement).await.map_err(|error| classify(error, "looking at the space"))?;
    let column = reply.columns.iter().position(|column| column.eq_ignore_ascii_case("vid type"));
    let found = column.and_then(|column| reply.rows.first()?.get(column)?.as_text().map(str::to_owned)).unwrap_or_default();
    if found == format!("FIXED_STRING({VID_BYTES})") {
        return Ok(None);
    }
    Ok(Some(format!(
        "the space {space} has vertex ids of type {found}, ours need FIXED_STRING({VID_BYTES}); name another space in the \
         configuration, or drop this one"
    )))
}

/// Makes and widens tags and edge types, and waits until they are known.
pub(crate) async fn create(session: &mut Session, shapes: &Shapes) -> Result<(), SinkError> {
    let mut probes = Vec::new();
    for (word, list, wanted) in [("TAG", "TAGS", &shapes.tags), ("EDGE", "EDGES", &shapes.edges)] {
        let known = names(session, list).await?;
        for shape in wanted {
            let statement = if known.iter().any(|name| name == shape.name.as_str()) {
                let Some(statement) = widen(session, word, shape).await? else { continue };
                statement
            } else {
                format!("CREATE {word} IF NOT EXISTS {} ({})", shape.name, definitions(shape.properties.iter()))
            };
            let step = format!("making {} {}", word.to_lowercase(), shape.name);
            session.execute(&statement, &Properties::new()).await.map_err(|error| classify(error, &step))?;
            probes.push((probe(word, shape), format!("waiting for {} {}", word.to_lowercase(), shape.name)));
        }
    }
    let deadline = Instant::now() + PROPAGATION;
    for (statement, step) in probes {
        while let Err(error) = session.execute(&statement, &Properties::new()).await {
            wait(error, &step, deadline).await?;
        }
    }
    // Always: an earlier opening may have been cut off before it came to this.
    let statement = format!("DELETE VERTEX {} WITH EDGE", ngql::text(PROBE));
    session.execute(&statement, &Properties::new()).await.map_err(|error| classify(error, "taking away what was tried"))?;
    Ok(())
}

/// The statement that adds what is missing; `None` when nothing is.
async fn widen(session: &mut Session, word: &str, shape: &Shape) -> Result<Option<String>, SinkError> {
    let statement = format!("DESCRIBE {word} {}", shape.name);
    let reply = session.read(&statement).await.map_err(|error| classify(error, "looking at the schema of the graph store"))?;
    let known: BTreeMap<&str, &str> =
        reply.rows.iter().filter_map(|row| Some((row.first()?.as_text()?, row.get(1).and_then(Value::as_text)?))).collect();
    let mut missing = Vec::new();
    for property in &shape.properties {
        match known.get(property.name.as_str()) {
            None => missing.push(property),
            Some(found) if found.eq_ignore_ascii_case(property.kind.name()) => {}
            Some(found) => {
                let (name, wanted) = (&property.name, property.kind.name());
                let problem = format!(
                    "{} {} of the graph store has a property {name} of type {found}, not {wanted}; {REBUILD}",
                    word.to_lowercase(),
                    shape.name
                );
                return Err(fatal(problem, "types differ"));
            }
        }
    }
    let added = definitions(missing.iter().copied());
    Ok((!missing.is_empty()).then(|| format!("ALTER {word} {} ADD ({added})", shape.name)))
}

fn definitions<'p>(properties: impl Iterator<Item = &'p crate::shape::Property>) -> String {
    let list: Vec<String> = properties.map(|property| format!("{} {} NULL", property.name, property.kind.name())).collect();
    list.join(", ")
}

/// Writes a row of its own, with the newest property: a server that takes it knows all.
fn probe(word: &str, shape: &Shape) -> String {
    let (name, vid) = (&shape.name, ngql::text(PROBE));
    let newest = ngql::list(shape.properties.last().map(|property| &property.name));
    let value = if newest.is_empty() { "" } else { "NULL" };
    let place = if word == "TAG" { vid } else { format!("{vid}->{vid}@0") };
    let what = if word == "TAG" { "VERTEX" } else { "EDGE" };
    format!("INSERT {what} {name} ({newest}) VALUES {place}:({value})")
}

/// Lets a moment pass if the error may pass too.
async fn wait(error: ClientError, step: &str, deadline: Instant) -> Result<(), SinkError> {
    let passing = matches!(&error, ClientError::Server { code, message } if class_of(*code, message) == Class::Passing);
    if !passing {
        return Err(classify(error, step));
    }
    if Instant::now() >= deadline {
        return Err(unavailable(step, format!("not known to all servers after {PROPAGATION:?}: {error}")));
    }
    tokio::time::sleep(LOOK_EVERY).await;
    Ok(())
}
