//! The positional Avro codec, and the envelopes of changes and states in single-object encoding.
//!
//! A record's bytes are `C3 01`, the CRC-64-AVRO fingerprint (little endian) of its envelope schema, then the Avro body.
//! The envelope schemas wrap the entity's: [`change_schema`] and [`state_schema`] give them as JSON.
//!
//! Guarantees: the bytes are Avro's own (`apache-avro` writes and reads the same ones); a record of this build's schema is read
//! without lock, look-up or copied text; one of another compatible schema is read by a plan made when it was learnt. No bytes
//! whatever make decoding panic, or allocate more than a small multiple of their own length. Relies on rows that fit their
//! schema ([`crate::row::check`]): to encode another one is a programming error and panics.

pub(crate) mod change;
pub(crate) mod envelope;
pub mod header;
pub(crate) mod resolve;
pub(crate) mod rows;
pub(crate) mod skip;
pub(crate) mod state;
pub(crate) mod wire;

use crate::catalog::Catalog;
use crate::change::Change;
use crate::entity::Entity;
use crate::state::State;
use resolve::Plan;

/// Why bytes did not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No single-object header.
    #[error("not a single-object encoded record")]
    Header,
    /// Framed by the id of a schema registry that nobody here has explained.
    #[error(
        "framed by the id {0} of a schema registry that does not know it, or is not configured; set `schema_registry.url` to \
         the registry of whoever wrote the record"
    )]
    Framed(u32),
    /// Written by a schema that this catalog has not been told of ([`Catalog::learn`]).
    #[error("written by an unknown schema {0:016x}")]
    UnknownSchema(u64),
    /// The body ends early or holds an impossible value.
    #[error("damaged record: {0}")]
    Damaged(&'static str),
}

/// Appends the change to `out`.
pub fn encode_change(entity: &Entity, change: &Change<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&header::single_object(entity.change_envelope.fingerprint));
    change::write(entity, change, out);
}

/// Appends the state to `out`.
pub fn encode_state(entity: &Entity, state: &State<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&header::single_object(entity.state_envelope.fingerprint));
    state::write(entity, state, out);
}

/// Reads a change, whoever wrote it, as this entity's row.
pub fn decode_change<'b>(catalog: &Catalog, entity: &Entity, bytes: &'b [u8]) -> Result<Change<'b>, DecodeError> {
    let (fingerprint, mut input) = header::take(bytes)?;
    let change = if fingerprint == entity.change_envelope.fingerprint {
        change::read(entity, &mut input)?
    } else {
        match catalog.plan(&entity.name, fingerprint).as_deref() {
            Some(Plan::Change(plan)) => plan.read(&mut input)?,
            _ => return Err(DecodeError::UnknownSchema(fingerprint)),
        }
    };
    input.expect_end()?;
    Ok(change)
}

/// Reads a state, whoever wrote it, as this entity's row.
pub fn decode_state<'b>(catalog: &Catalog, entity: &Entity, bytes: &'b [u8]) -> Result<State<'b>, DecodeError> {
    let (fingerprint, mut input) = header::take(bytes)?;
    let state = if fingerprint == entity.state_envelope.fingerprint {
        state::read(entity, &mut input)?
    } else {
        match catalog.plan(&entity.name, fingerprint).as_deref() {
            Some(Plan::State(plan)) => plan.read(&mut input)?,
            _ => return Err(DecodeError::UnknownSchema(fingerprint)),
        }
    };
    input.expect_end()?;
    Ok(state)
}

/// The envelope schema of `changes.<entity>` as JSON.
pub fn change_schema(entity: &Entity) -> String {
    entity.change_envelope.json.clone()
}

/// The envelope schema of `state.<entity>` as JSON.
pub fn state_schema(entity: &Entity) -> String {
    entity.state_envelope.json.clone()
}

/// Whether an envelope schema (JSON) is one of states, whoever wrote it.
pub fn is_state_schema(envelope_json: &str) -> bool {
    let schema = serde_json::from_str::<serde_json::Value>(envelope_json).unwrap_or_default();
    schema["namespace"] == envelope::STATE_NAMESPACE
}

/// The fingerprint by which records of an envelope schema (JSON) are headed; `None` when that is no Avro schema.
pub fn fingerprint(envelope_json: &str) -> Option<u64> {
    crate::compile::fingerprint(envelope_json)
}

#[cfg(test)]
mod tests;
