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
pub(crate) mod resolve;
pub(crate) mod rows;
pub(crate) mod skip;
pub(crate) mod state;
pub(crate) mod wire;

use crate::catalog::Catalog;
use crate::change::Change;
use crate::entity::{Entity, EnvelopeSchema};
use crate::state::State;
use resolve::Plan;
use wire::Input;

/// Marker of single-object encoding.
const MARKER: [u8; 2] = [0xC3, 0x01];

/// Why bytes did not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No single-object header.
    #[error("not a single-object encoded record")]
    Header,
    /// Written by a schema that this catalog has not been told of ([`Catalog::learn`]).
    #[error("written by an unknown schema {0:016x}")]
    UnknownSchema(u64),
    /// The body ends early or holds an impossible value.
    #[error("damaged record: {0}")]
    Damaged(&'static str),
}

/// Appends the change to `out`.
pub fn encode_change(entity: &Entity, change: &Change<'_>, out: &mut Vec<u8>) {
    put_header(&entity.change_envelope, out);
    change::write(entity, change, out);
}

/// Appends the state to `out`.
pub fn encode_state(entity: &Entity, state: &State<'_>, out: &mut Vec<u8>) {
    put_header(&entity.state_envelope, out);
    state::write(entity, state, out);
}

/// Reads a change, whoever wrote it, as this entity's row.
pub fn decode_change<'b>(catalog: &Catalog, entity: &Entity, bytes: &'b [u8]) -> Result<Change<'b>, DecodeError> {
    let (fingerprint, mut input) = take_header(bytes)?;
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
    let (fingerprint, mut input) = take_header(bytes)?;
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

fn put_header(envelope: &EnvelopeSchema, out: &mut Vec<u8>) {
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&envelope.fingerprint.to_le_bytes());
}

fn take_header(bytes: &[u8]) -> Result<(u64, Input<'_>), DecodeError> {
    let rest = bytes.strip_prefix(&MARKER).ok_or(DecodeError::Header)?;
    let (fingerprint, body) = rest.split_first_chunk::<8>().ok_or(DecodeError::Header)?;
    Ok((u64::from_le_bytes(*fingerprint), Input::new(body)))
}

#[cfg(test)]
mod tests;
