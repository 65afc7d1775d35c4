//! Conditions on payloads, which compare values as texts, as the server's, which compare by type.

use std::collections::BTreeSet;

use qdrant_client::qdrant::{Condition, DatetimeRange, Filter, Timestamp};
use tidemark_schemas::entity::FieldType;
use tidemark_schemas::{Cell, json};
use tidemark_sink_core::points::PointKind;

/// How a field's values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Compared {
    Text,
    Whole,
    Flag,
    Date,
    Moment,
}

/// All of these: fields and the values that they must have. `None` when no point can meet one of them.
pub(super) fn all(kinds: &[&PointKind], filters: &[(String, String)]) -> Option<Vec<Condition>> {
    filters.iter().map(|(field, wanted)| one(kinds, field, wanted)).collect()
}

fn one(kinds: &[&PointKind], field: &str, wanted: &str) -> Option<Condition> {
    let mut any: Vec<Condition> =
        compared(kinds, field).into_iter().filter_map(|compared| condition(compared, field, wanted)).collect();
    if wanted.is_empty() {
        any.push(Condition::is_empty(field));
    }
    (!any.is_empty()).then(|| Filter::should(any).into())
}

/// How a field is compared: two entities of a collection may have it in two types.
fn compared(kinds: &[&PointKind], field: &str) -> BTreeSet<Compared> {
    let mut found = BTreeSet::new();
    for kind in kinds {
        for (column, fen) in kind.columns() {
            if column.name == field {
                found.extend(of_type(&kind.entity.field(column.number).kind));
            }
            if fen == Some(field) {
                found.insert(Compared::Whole);
            }
        }
    }
    if found.is_empty() {
        // `key`, `entity`, `tenant`.
        found.insert(Compared::Text);
    }
    found
}

fn of_type(kind: &FieldType) -> Option<Compared> {
    match kind {
        FieldType::Bool => Some(Compared::Flag),
        FieldType::Int { .. } => Some(Compared::Whole),
        FieldType::Text { .. } | FieldType::Decimal { .. } => Some(Compared::Text),
        FieldType::Date => Some(Compared::Date),
        FieldType::Timestamp => Some(Compared::Moment),
        FieldType::Array(items) => of_type(items),
        FieldType::Record(_) => None,
    }
}

fn condition(compared: Compared, field: &str, wanted: &str) -> Option<Condition> {
    Some(match compared {
        Compared::Text => Condition::matches(field, wanted.to_owned()),
        Compared::Whole => Condition::matches(field, wanted.parse::<i64>().ok()?),
        Compared::Flag => Condition::matches(field, wanted.parse::<bool>().ok()?),
        Compared::Date => moment(field, read(&FieldType::Date, wanted)?),
        Compared::Moment => moment(field, read(&FieldType::Timestamp, wanted)?),
    })
}

fn read(kind: &FieldType, text: &str) -> Option<Timestamp> {
    const DAY: i64 = 86_400;
    const MICROS: i64 = 1_000_000;
    match json::cell_from_json(kind, &text.into()).ok()? {
        Cell::Date(days) => Some(Timestamp { seconds: i64::from(days) * DAY, nanos: 0 }),
        Cell::Timestamp(micros) => {
            let nanos = i32::try_from(micros.rem_euclid(MICROS) * 1_000).ok()?;
            Some(Timestamp { seconds: micros.div_euclid(MICROS), nanos })
        }
        _ => None,
    }
}

/// A date is its first moment: the indexes know moments alone.
fn moment(field: &str, at: Timestamp) -> Condition {
    Condition::datetime_range(field, DatetimeRange { gte: Some(at), lte: Some(at), ..DatetimeRange::default() })
}
