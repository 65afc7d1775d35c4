//! The plans for the two envelopes: their fields by name, in the writer's order.

use std::borrow::Cow;

use apache_avro::Schema;
use apache_avro::schema::{RecordField, RecordSchema};
use uuid::Uuid;

use super::super::change::{check, read_mask, read_operation, read_optional_long, read_uuid};
use super::super::rows::read_items;
use super::super::skip::{Layout, Names, layout, skip};
use super::super::state::read_partition;
use super::super::wire::{Damage, Input};
use super::record_of;
use super::row::{Numbers, RowPlan};
use crate::cell::Row;
use crate::change::{Change, Operation};
use crate::entity::Entity;
use crate::state::{SnapshotMemory, State};

/// What to do with one field of a writer's envelope.
#[derive(Debug)]
enum Slot {
    /// A field of ours with our type: its name.
    Known(&'static str),
    /// The row, or the snapshots that hold rows.
    Rows(&'static str),
    /// A later invention.
    Skip(Layout),
}

/// How a foreign change is read.
#[derive(Debug)]
pub(crate) struct ChangePlan {
    slots: Vec<Slot>,
    row: RowPlan,
    numbers: Numbers,
}

/// How a foreign state is read.
#[derive(Debug)]
pub(crate) struct StatePlan {
    slots: Vec<Slot>,
    snapshot_slots: Vec<Slot>,
    row: RowPlan,
}

const CHANGE_FIELDS: [&str; 12] = [
    "key",
    "tenant",
    "operation",
    "mask",
    "source",
    "source_seq",
    "snapshot",
    "row_hash",
    "occurred_at",
    "ingested_at",
    "event_id",
    "claim",
];
const STATE_FIELDS: [&str; 8] = ["key", "tenant", "version", "deleted", "changed_at", "ingested_at", "partition", "offset"];
const SNAPSHOT_FIELDS: [&str; 2] = ["source", "hash"];

impl ChangePlan {
    pub(super) fn new(reader: &Entity, writer: &RecordSchema, names: &Names<'_>) -> Result<Self, String> {
        let own = own_envelope(&reader.change_envelope.json)?;
        let slots = slots(own_record(&own)?, writer, &CHANGE_FIELDS, &["row"], names)?;
        let mut numbers = Numbers::new();
        let row = RowPlan::new(&reader.record, row_record(writer, names)?, names, &mut numbers)?;
        Ok(Self { slots, row, numbers })
    }

    /// Reads the body.
    pub(crate) fn read<'b>(&self, input: &mut Input<'b>) -> Result<Change<'b>, Damage> {
        let mut change = Change {
            key: Cow::Borrowed(""),
            tenant: None,
            operation: Operation::Delete,
            mask: Vec::new(),
            row: None,
            source: Cow::Borrowed(""),
            source_seq: 0,
            snapshot: false,
            row_hash: 0,
            occurred_at: None,
            ingested_at: 0,
            event_id: Uuid::nil(),
            claim: Cow::Borrowed(""),
        };
        for slot in &self.slots {
            match slot {
                Slot::Skip(layout) => skip(layout, input)?,
                Slot::Rows(_) => change.row = read_optional_row(&self.row, input)?,
                Slot::Known("key") => change.key = Cow::Borrowed(input.text()?),
                Slot::Known("tenant") => change.tenant = input.optional_text()?.map(Cow::Borrowed),
                Slot::Known("operation") => change.operation = read_operation(input)?,
                Slot::Known("mask") => change.mask = self.renumber(&read_mask(input)?),
                Slot::Known("source") => change.source = Cow::Borrowed(input.text()?),
                Slot::Known("source_seq") => change.source_seq = input.long()?.cast_unsigned(),
                Slot::Known("snapshot") => change.snapshot = input.boolean()?,
                Slot::Known("row_hash") => change.row_hash = input.long()?.cast_unsigned(),
                Slot::Known("occurred_at") => change.occurred_at = read_optional_long(input)?,
                Slot::Known("ingested_at") => change.ingested_at = input.long()?,
                Slot::Known("event_id") => change.event_id = read_uuid(input)?,
                Slot::Known("claim") => change.claim = Cow::Borrowed(input.text()?),
                Slot::Known(_) => return Err(NO_SUCH_SLOT),
            }
        }
        check(&change)?;
        Ok(change)
    }

    /// The writer's numbers as the reader's; those of fields unknown here are dropped.
    fn renumber(&self, mask: &[u32]) -> Vec<u32> {
        let mut renumbered: Vec<u32> =
            mask.iter().filter_map(|number| self.numbers.get(*number as usize).copied().flatten()).collect();
        renumbered.sort_unstable();
        renumbered
    }
}

impl StatePlan {
    pub(super) fn new(reader: &Entity, writer: &RecordSchema, names: &Names<'_>) -> Result<Self, String> {
        let own = own_envelope(&reader.state_envelope.json)?;
        let own = own_record(&own)?;
        let slots = slots(own, writer, &STATE_FIELDS, &["row", "snapshots"], names)?;
        let row = RowPlan::new(&reader.record, row_record(writer, names)?, names, &mut Numbers::new())?;
        let snapshot_slots = match (find_field(own, "snapshots"), find_field(writer, "snapshots")) {
            (Some(own), Some(theirs)) => {
                let (Schema::Array(own), Schema::Array(theirs)) = (&own.schema, &theirs.schema) else {
                    return Err("`snapshots` is not an array".to_owned());
                };
                let (Schema::Record(own), theirs) = (own.items.as_ref(), record_of(&theirs.items, names)?) else {
                    return Err("`snapshots` holds no records".to_owned());
                };
                self::slots(own, theirs, &SNAPSHOT_FIELDS, &["row"], names)?
            }
            _ => Vec::new(),
        };
        Ok(Self { slots, snapshot_slots, row })
    }

    /// Reads the body.
    pub(crate) fn read<'b>(&self, input: &mut Input<'b>) -> Result<State<'b>, Damage> {
        let mut state = State {
            key: Cow::Borrowed(""),
            tenant: None,
            version: 0,
            deleted: false,
            row: Row::new(),
            changed_at: 0,
            ingested_at: 0,
            position: (0, 0),
            snapshots: Vec::new(),
        };
        for slot in &self.slots {
            match slot {
                Slot::Skip(layout) => skip(layout, input)?,
                Slot::Rows("row") => state.row = self.row.read(input)?,
                Slot::Rows(_) => state.snapshots = read_items(input, |input| self.read_snapshot(input))?,
                Slot::Known("key") => state.key = Cow::Borrowed(input.text()?),
                Slot::Known("tenant") => state.tenant = input.optional_text()?.map(Cow::Borrowed),
                Slot::Known("version") => state.version = input.long()?.cast_unsigned(),
                Slot::Known("deleted") => state.deleted = input.boolean()?,
                Slot::Known("changed_at") => state.changed_at = input.long()?,
                Slot::Known("ingested_at") => state.ingested_at = input.long()?,
                Slot::Known("partition") => state.position.0 = read_partition(input)?,
                Slot::Known("offset") => state.position.1 = input.long()?.cast_unsigned(),
                Slot::Known(_) => return Err(NO_SUCH_SLOT),
            }
        }
        Ok(state)
    }

    fn read_snapshot<'b>(&self, input: &mut Input<'b>) -> Result<SnapshotMemory<'b>, Damage> {
        let mut snapshot = SnapshotMemory { source: Cow::Borrowed(""), hash: 0, row: None };
        for slot in &self.snapshot_slots {
            match slot {
                Slot::Skip(layout) => skip(layout, input)?,
                Slot::Rows(_) => snapshot.row = read_optional_row(&self.row, input)?,
                Slot::Known("source") => snapshot.source = Cow::Borrowed(input.text()?),
                Slot::Known("hash") => snapshot.hash = input.long()?.cast_unsigned(),
                Slot::Known(_) => return Err(NO_SUCH_SLOT),
            }
        }
        Ok(snapshot)
    }
}

const NO_SUCH_SLOT: Damage = Damage(&"its plan names a field that no envelope has");

fn read_optional_row<'b>(plan: &RowPlan, input: &mut Input<'b>) -> Result<Option<Row<'b>>, Damage> {
    if input.is_value()? { plan.read(input).map(Some) } else { Ok(None) }
}

fn own_envelope(json: &str) -> Result<Schema, String> {
    Schema::parse_str(json).map_err(|error| format!("our own envelope does not parse: {error}"))
}

fn own_record(schema: &Schema) -> Result<&RecordSchema, String> {
    record_of(schema, &Names::new())
}

fn find_field<'r>(record: &'r RecordSchema, name: &str) -> Option<&'r RecordField> {
    record.fields.iter().find(|field| field.name == name)
}

/// The row's record of a writer's envelope: `X` or `["null", X]`.
fn row_record<'s>(writer: &'s RecordSchema, names: &Names<'s>) -> Result<&'s RecordSchema, String> {
    let field = find_field(writer, "row").ok_or("has no `row`")?;
    match &field.schema {
        Schema::Union(union) => match union.variants() {
            [Schema::Null, row] => record_of(row, names),
            _ => Err("`row` is a union of more than null and the row".to_owned()),
        },
        schema => record_of(schema, names),
    }
}

/// One slot for each field of the writer. A known field must have our type; one of ours that the writer lacks must have a
/// default.
fn slots(
    own: &RecordSchema,
    writer: &RecordSchema,
    known: &'static [&'static str],
    rows: &'static [&'static str],
    names: &Names<'_>,
) -> Result<Vec<Slot>, String> {
    for field in &own.fields {
        if field.default.is_none() && find_field(writer, &field.name).is_none() {
            return Err(format!("its envelope has no `{}`", field.name));
        }
    }
    let mut slots = Vec::with_capacity(writer.fields.len());
    for field in &writer.fields {
        if let Some(name) = rows.iter().find(|name| **name == field.name) {
            slots.push(Slot::Rows(name));
            continue;
        }
        let Some(name) = known.iter().find(|name| **name == field.name) else {
            slots.push(Slot::Skip(layout(&field.schema, names)?));
            continue;
        };
        let ours = find_field(own, name).ok_or_else(|| format!("our envelope has no `{name}`"))?;
        if ours.schema.canonical_form() != field.schema.canonical_form() {
            return Err(format!("its envelope's `{name}` is of another type"));
        }
        slots.push(Slot::Known(name));
    }
    Ok(slots)
}
