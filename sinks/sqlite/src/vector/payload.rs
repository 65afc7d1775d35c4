//! The payload of a point: what filters and readers see beside the vector.

use tidemark_schemas::entity::FieldType;
use tidemark_schemas::{Cell, Entity, State};

use crate::properties::Object;

/// `{"key", "entity", "tenant", …payload columns}`, nulls left out; money also in whole fen, as `<column>_fen`.
pub(super) fn write_payload(entity: &Entity, columns: &[usize], state: &State<'_>, out: &mut String) {
    let mut object = Object::begin(out);
    object.text("key", &state.key);
    object.text("entity", &entity.name);
    if let Some(tenant) = &state.tenant {
        object.text("tenant", tenant);
    }
    for &index in columns {
        let column = &entity.columns[index];
        let cell = column.path.get(&state.row);
        if cell.is_null() {
            continue;
        }
        let field = entity.field(column.number);
        object.cell(&column.name, &field.kind, cell);
        if let (FieldType::Decimal { scale: 2, .. }, Cell::Decimal(value)) = (&field.kind, cell)
            && let Ok(fen) = i64::try_from(value.mantissa())
        {
            object.int([&column.name, "_fen"], fen);
        }
    }
    object.end();
}
