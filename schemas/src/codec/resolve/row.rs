//! The plan for a row: from a writer's record to the reader's positions.

use std::borrow::Cow;

use apache_avro::Schema;
use apache_avro::schema::RecordSchema;

use super::super::rows::{read_decimal, read_items};
use super::super::skip::{Layout, Names, layout, named, skip};
use super::super::wire::{Damage, Input};
use super::record_of;
use crate::cell::{Cell, Row};
use crate::entity::{FieldType, RecordType};

/// How a foreign row is read.
#[derive(Debug)]
pub(super) struct RowPlan {
    /// Cells of the reader's record.
    width: usize,
    /// One for each field of the writer, in its order.
    steps: Vec<Step>,
}

/// What to do with one field of the writer.
#[derive(Debug)]
enum Step {
    /// The reader does not know it.
    Skip(Layout),
    /// It goes to this position.
    Read { position: usize, reader_nullable: bool, presence: Presence, value: ValuePlan },
}

/// How the writer says that there is no value.
#[derive(Debug)]
enum Presence {
    /// It never does.
    Always,
    /// A union of null and the value, in this order or the other.
    Union { null_branch: i64 },
}

/// How a foreign value is read.
#[derive(Debug)]
enum ValuePlan {
    Bool,
    Int,
    Text,
    Decimal { scale: u32 },
    Date,
    Timestamp,
    Record(RowPlan),
    Array(Box<ValuePlan>),
}

/// The writer's field numbers in the reader's terms: index = writer's number.
pub(super) type Numbers = Vec<Option<u32>>;

impl RowPlan {
    /// Matches the writer's record to the reader's; appends the numbers of all its fields, in their order.
    pub(super) fn new(
        reader: &RecordType,
        writer: &RecordSchema,
        names: &Names<'_>,
        numbers: &mut Numbers,
    ) -> Result<Self, String> {
        let mut steps = Vec::with_capacity(writer.fields.len());
        let mut found = vec![false; reader.fields.len()];
        for field in &writer.fields {
            let Some(position) = reader_position(reader, writer, &field.name) else {
                number_unknown(&field.schema, names, numbers)?;
                steps.push(Step::Skip(layout(&field.schema, names)?));
                continue;
            };
            let known = &reader.fields[position];
            found[position] = true;
            numbers.push(Some(known.number));
            let (presence, schema) = presence(&field.schema, &field.name)?;
            let value = ValuePlan::new(&known.kind, schema, names, numbers)
                .map_err(|problem| format!("`{}` cannot be read as `{}`: {problem}", field.name, known.name))?;
            steps.push(Step::Read { position, reader_nullable: known.nullable, presence, value });
        }
        for (field, found) in reader.fields.iter().zip(found) {
            if !found && !field.nullable {
                return Err(format!("`{}` is never null here, but the writer has no such field", field.name));
            }
        }
        Ok(Self { width: reader.fields.len(), steps })
    }

    /// Reads a row as the reader's.
    pub(super) fn read<'b>(&self, input: &mut Input<'b>) -> Result<Row<'b>, Damage> {
        let mut row = vec![Cell::Null; self.width];
        for step in &self.steps {
            match step {
                Step::Skip(layout) => skip(layout, input)?,
                Step::Read { position, reader_nullable, presence, value } => {
                    if presence.is_value(input)? {
                        row[*position] = value.read(input)?;
                    } else if !reader_nullable {
                        return Err(Damage(&"null where this schema allows none"));
                    }
                }
            }
        }
        Ok(row)
    }
}

/// By the writer's name; else by an alias, if no field of the writer bears the reader's own name.
fn reader_position(reader: &RecordType, writer: &RecordSchema, name: &str) -> Option<usize> {
    let own = reader.fields.iter().position(|field| field.name == name);
    own.or_else(|| {
        reader.fields.iter().position(|field| {
            let first_alias = field.aliases.iter().find(|alias| writer.lookup.contains_key(*alias));
            first_alias.is_some_and(|alias| alias == name) && !writer.lookup.contains_key(&field.name)
        })
    })
}

/// A field that the reader does not know still counts, as do its children.
fn number_unknown(schema: &Schema, names: &Names<'_>, numbers: &mut Numbers) -> Result<(), String> {
    numbers.push(None);
    let inner = match schema {
        Schema::Union(union) => union.variants().iter().find(|branch| !matches!(branch, Schema::Null)).unwrap_or(schema),
        _ => schema,
    };
    if let Schema::Record(record) = named(inner, names)? {
        for field in &record.fields {
            number_unknown(&field.schema, names, numbers)?;
        }
    }
    Ok(())
}

fn presence<'s>(schema: &'s Schema, name: &str) -> Result<(Presence, &'s Schema), String> {
    let Schema::Union(union) = schema else { return Ok((Presence::Always, schema)) };
    match union.variants() {
        [Schema::Null, value] => Ok((Presence::Union { null_branch: 0 }, value)),
        [value, Schema::Null] => Ok((Presence::Union { null_branch: 1 }, value)),
        _ => Err(format!("`{name}` is a union of more than null and one type")),
    }
}

impl Presence {
    fn is_value(&self, input: &mut Input<'_>) -> Result<bool, Damage> {
        match self {
            Self::Always => Ok(true),
            Self::Union { null_branch } => match input.long()? {
                branch @ (0 | 1) => Ok(branch != *null_branch),
                _ => Err(Damage(&"a union has no such branch")),
            },
        }
    }
}

impl ValuePlan {
    fn new(reader: &FieldType, writer: &Schema, names: &Names<'_>, numbers: &mut Numbers) -> Result<Self, String> {
        Ok(match (reader, named(writer, names)?) {
            (FieldType::Bool, Schema::Boolean) => Self::Bool,
            (FieldType::Int { .. }, Schema::Int | Schema::Long) => Self::Int,
            (FieldType::Text { .. }, Schema::String) => Self::Text,
            (FieldType::Decimal { scale, .. }, Schema::Decimal(decimal)) => {
                if decimal.scale != *scale as usize {
                    return Err(format!("its scale is {}, here it is {scale}", decimal.scale));
                }
                Self::Decimal { scale: *scale }
            }
            (FieldType::Date, Schema::Date) => Self::Date,
            (FieldType::Timestamp, Schema::TimestampMicros) => Self::Timestamp,
            (FieldType::Record(nested), schema @ Schema::Record(_)) => {
                Self::Record(RowPlan::new(nested, record_of(schema, names)?, names, numbers)?)
            }
            // Fields inside arrays bear no numbers of their own.
            (FieldType::Array(items), Schema::Array(array)) => {
                Self::Array(Box::new(Self::new(items, &array.items, names, &mut Vec::new())?))
            }
            (_, other) => {
                return Err(format!("the types differ (there it is {:?})", apache_avro::schema::SchemaKind::from(other)));
            }
        })
    }

    fn read<'b>(&self, input: &mut Input<'b>) -> Result<Cell<'b>, Damage> {
        Ok(match self {
            Self::Bool => Cell::Bool(input.boolean()?),
            Self::Int => Cell::Int(input.long()?),
            Self::Text => Cell::Text(Cow::Borrowed(input.text()?)),
            Self::Decimal { scale } => Cell::Decimal(read_decimal(*scale, input)?),
            Self::Date => Cell::Date(input.int()?),
            Self::Timestamp => Cell::Timestamp(input.long()?),
            Self::Record(plan) => Cell::Record(plan.read(input)?),
            Self::Array(item) => Cell::Array(read_items(input, |input| item.read(input))?),
        })
    }
}
