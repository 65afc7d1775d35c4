//! Reading what another build has written: a plan from a writer's envelope schema to this entity.
//!
//! A plan is made once, when the schema is learnt: writer fields are matched by name, or by an alias of the reader's field, to
//! positions; unknown ones are skipped; missing ones become null; `int` becomes `long`; masks are renumbered. Only what is
//! compatible gives a plan, so reading afterwards can fail on damaged bytes only (and on a null where this schema allows none).

mod envelopes;
mod row;

use apache_avro::Schema;
use apache_avro::schema::RecordSchema;

use super::envelope::{CHANGE_NAMESPACE, STATE_NAMESPACE};
use super::skip::{Names, collect_names};
use crate::entity::Entity;
pub(crate) use envelopes::{ChangePlan, StatePlan};

/// How to read one foreign envelope.
#[derive(Debug)]
pub(crate) enum Plan {
    /// A change's.
    Change(ChangePlan),
    /// A state's.
    State(StatePlan),
}

impl Plan {
    /// Makes the plan for a writer's envelope; the error says what does not fit.
    pub(crate) fn new(reader: &Entity, envelope_json: &str) -> Result<Self, String> {
        let schema = Schema::parse_str(envelope_json).map_err(|error| format!("is not an Avro schema: {error}"))?;
        let mut names = Names::new();
        collect_names(&schema, &mut names);
        let Schema::Record(record) = &schema else { return Err("is not a record".to_owned()) };
        match (record.name.namespace(), record.name.name()) {
            (Some(CHANGE_NAMESPACE), name) if name == reader.name => ChangePlan::new(reader, record, &names).map(Self::Change),
            (Some(STATE_NAMESPACE), name) if name == reader.name => StatePlan::new(reader, record, &names).map(Self::State),
            _ => Err(format!(
                "is {}, but `{CHANGE_NAMESPACE}.{}` or `{STATE_NAMESPACE}.{}` was expected",
                record.name.fullname(None),
                reader.name,
                reader.name
            )),
        }
    }
}

/// The record behind a schema that may be given by name.
fn record_of<'s>(schema: &'s Schema, names: &Names<'s>) -> Result<&'s RecordSchema, String> {
    match super::skip::named(schema, names)? {
        Schema::Record(record) => Ok(record),
        _ => Err("is not a record".to_owned()),
    }
}
