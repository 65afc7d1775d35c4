//! Passing over values of which only the writer knows the meaning.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::UuidSchema;

use super::wire::{Damage, Input};

/// Deepest nesting of a writer's schema that is followed; more is a schema that holds itself.
const DEPTH_MAX: usize = 32;

/// The named types of a writer's schema, by full name.
pub(super) type Names<'s> = HashMap<String, &'s Schema>;

/// How the bytes of a value are laid out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Layout {
    /// No bytes.
    Nothing,
    /// A zigzag varint: `int`, `long`, an enumeration.
    Varint,
    /// So many bytes.
    Fixed(usize),
    /// Length-prefixed: `bytes`, `string`.
    Prefixed,
    /// Blocks of items; those of a map begin with their key.
    Blocks(Box<Layout>),
    /// A branch number, then the branch.
    Union(Vec<Layout>),
    /// One after the other.
    Record(Vec<Layout>),
}

/// Gathers the named types of a schema.
pub(super) fn collect_names<'s>(schema: &'s Schema, names: &mut Names<'s>) {
    if !matches!(schema, Schema::Ref { .. })
        && let Some(name) = schema.name()
    {
        names.insert(name.fullname(None), schema);
    }
    match schema {
        Schema::Record(record) => record.fields.iter().for_each(|field| collect_names(&field.schema, names)),
        Schema::Array(array) => collect_names(&array.items, names),
        Schema::Map(map) => collect_names(&map.types, names),
        Schema::Union(union) => union.variants().iter().for_each(|branch| collect_names(branch, names)),
        _ => {}
    }
}

/// The schema itself where it was given by name.
pub(super) fn named<'s>(schema: &'s Schema, names: &Names<'s>) -> Result<&'s Schema, String> {
    match schema {
        Schema::Ref { name } => {
            names.get(&name.fullname(None)).copied().ok_or_else(|| format!("there is no type {}", name.fullname(None)))
        }
        _ => Ok(schema),
    }
}

/// The layout of a schema's values.
pub(super) fn layout(schema: &Schema, names: &Names<'_>) -> Result<Layout, String> {
    layout_within(schema, names, DEPTH_MAX)
}

fn layout_within(schema: &Schema, names: &Names<'_>, depth: usize) -> Result<Layout, String> {
    let depth = depth.checked_sub(1).ok_or("a type nests too deep or holds itself")?;
    let inner = |schema: &Schema| layout_within(schema, names, depth);
    Ok(match named(schema, names)? {
        Schema::Null => Layout::Nothing,
        Schema::Boolean => Layout::Fixed(1),
        Schema::Float => Layout::Fixed(4),
        Schema::Double => Layout::Fixed(8),
        Schema::Int
        | Schema::Long
        | Schema::Enum(_)
        | Schema::Date
        | Schema::TimeMillis
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => Layout::Varint,
        Schema::Bytes | Schema::String | Schema::BigDecimal | Schema::Uuid(UuidSchema::String | UuidSchema::Bytes) => {
            Layout::Prefixed
        }
        Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => Layout::Fixed(fixed.size),
        Schema::Decimal(decimal) => match &decimal.inner {
            apache_avro::schema::InnerDecimalSchema::Bytes => Layout::Prefixed,
            apache_avro::schema::InnerDecimalSchema::Fixed(fixed) => Layout::Fixed(fixed.size),
        },
        Schema::Array(array) => match inner(&array.items)? {
            // A count of such items says nothing about the bytes that follow, so it could be anything.
            item if is_without_bytes(&item) => return Err("an array's items have no bytes".to_owned()),
            item => Layout::Blocks(Box::new(item)),
        },
        Schema::Map(map) => Layout::Blocks(Box::new(Layout::Record(vec![Layout::Prefixed, inner(&map.types)?]))),
        Schema::Union(union) => Layout::Union(union.variants().iter().map(inner).collect::<Result<_, _>>()?),
        Schema::Record(record) => {
            Layout::Record(record.fields.iter().map(|field| inner(&field.schema)).collect::<Result<_, _>>()?)
        }
        Schema::Ref { .. } => return Err("a type is only named".to_owned()),
    })
}

fn is_without_bytes(layout: &Layout) -> bool {
    match layout {
        Layout::Nothing | Layout::Fixed(0) => true,
        Layout::Record(fields) => fields.iter().all(is_without_bytes),
        _ => false,
    }
}

/// Passes over one value.
pub(super) fn skip(layout: &Layout, input: &mut Input<'_>) -> Result<(), Damage> {
    match layout {
        Layout::Nothing => {}
        Layout::Varint => {
            input.long()?;
        }
        Layout::Fixed(size) => {
            input.take(*size)?;
        }
        Layout::Prefixed => {
            input.bytes()?;
        }
        Layout::Blocks(item) => loop {
            let count = input.block()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                skip(item, input)?;
            }
        },
        Layout::Union(branches) => {
            let branch = usize::try_from(input.long()?).ok().and_then(|index| branches.get(index));
            skip(branch.ok_or(Damage(&"a union has no such branch"))?, input)?;
        }
        Layout::Record(fields) => {
            for field in fields {
                skip(field, input)?;
            }
        }
    }
    Ok(())
}
