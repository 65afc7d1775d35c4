//! The payload of a point as JSON text.

use tidemark_schemas::State;
use tidemark_sink_core::points::{PayloadValue, PointKind};

use crate::properties::Object;

/// All fields of the record's payload, as an object.
pub(super) fn write_payload(kind: &PointKind, state: &State<'_>, out: &mut String) {
    let mut object = Object::begin(out);
    kind.each_field(state, |name, value| match value {
        PayloadValue::Text(text) => object.text(name, text),
        PayloadValue::Int(number) => object.int(name, number),
        PayloadValue::Cell(kind, cell) => object.cell(name, kind, cell),
    });
    object.end();
}
