//! A column of a batch as one array parameter in Postgres's binary form, written straight from the cells.
//!
//! Nothing is copied in between: the driver's buffer is what the values are written into. The forms are those of the server's
//! own `*_recv` functions (`array.c`, `numeric.c`, `date.c`, `timestamp.c`, `jsonb.c`). What a type cannot hold was looked for
//! before ([`crate::poison`]).

use rust_decimal::Decimal;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Postgres, Type};
use tidemark_schemas::entity::FieldType;
use tidemark_schemas::{Cell, Entity, json};
use tidemark_sink_core::SinkRow;

use crate::ddl::SqlType;
use crate::table::{Content, TableColumn};

/// Days from 1970-01-01 to 2000-01-01, where Postgres begins to count.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Length of a null.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();
/// Version of jsonb's binary form.
const JSONB_VERSION: u8 = 1;

/// One column of many rows.
pub(crate) struct ColumnOf<'r, 'b> {
    pub(crate) entity: &'r Entity,
    pub(crate) column: &'r TableColumn,
    pub(crate) rows: &'r [SinkRow<'b>],
}

impl Type<Postgres> for ColumnOf<'_, '_> {
    /// Of a text column; [`Encode::produces`] tells the true one.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(SqlType::Text.numbers().1))
    }
}

impl Encode<'_, Postgres> for ColumnOf<'_, '_> {
    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.column.kind.numbers().1)))
    }

    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let length = i32::try_from(self.rows.len())?;
        // dimensions, "may hold nulls", element type, length, first index
        buffer.extend_from_slice(&1_i32.to_be_bytes());
        buffer.extend_from_slice(&1_i32.to_be_bytes());
        buffer.extend_from_slice(&self.column.kind.numbers().0.to_be_bytes());
        buffer.extend_from_slice(&length.to_be_bytes());
        buffer.extend_from_slice(&1_i32.to_be_bytes());
        let kind = match &self.column.content {
            Content::Field(number, _) => &self.entity.field(*number).kind,
            _ => &FieldType::Bool,
        };
        let mut text = String::new();
        for row in self.rows {
            let state = &row.state;
            match &self.column.content {
                Content::Key => put(buffer, state.key.as_bytes())?,
                Content::Version => put(buffer, &state.version.cast_signed().to_be_bytes())?,
                Content::Tenant => match &state.tenant {
                    Some(tenant) => put(buffer, tenant.as_bytes())?,
                    None => buffer.extend_from_slice(&NULL),
                },
                Content::DeletedAt if state.deleted => put_moment(buffer, state.changed_at)?,
                Content::DeletedAt => buffer.extend_from_slice(&NULL),
                Content::ChangedAt => put_moment(buffer, state.changed_at)?,
                Content::Field(_, path) => put_cell(buffer, kind, path.get(&state.row), &mut text)?,
            }
        }
        Ok(IsNull::No)
    }
}

/// The length, then the bytes.
fn put(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), BoxDynError> {
    buffer.extend_from_slice(&i32::try_from(bytes.len())?.to_be_bytes());
    buffer.extend_from_slice(bytes);
    Ok(())
}

fn put_moment(buffer: &mut Vec<u8>, micros: i64) -> Result<(), BoxDynError> {
    put(buffer, &(micros - EPOCH_MICROS).to_be_bytes())
}

fn put_cell(buffer: &mut Vec<u8>, kind: &FieldType, cell: &Cell<'_>, text: &mut String) -> Result<(), BoxDynError> {
    match cell {
        Cell::Null => {
            buffer.extend_from_slice(&NULL);
            Ok(())
        }
        Cell::Bool(value) => put(buffer, &[u8::from(*value)]),
        Cell::Int(value) => put(buffer, &value.to_be_bytes()),
        Cell::Text(value) => put(buffer, value.as_bytes()),
        Cell::Decimal(value) => put_decimal(buffer, *value),
        Cell::Date(days) => put(buffer, &(days - EPOCH_DAYS).to_be_bytes()),
        Cell::Timestamp(micros) => put_moment(buffer, *micros),
        Cell::Record(_) | Cell::Array(_) => {
            text.clear();
            json::write_cell(kind, cell, text);
            buffer.extend_from_slice(&i32::try_from(text.len() + 1)?.to_be_bytes());
            buffer.push(JSONB_VERSION);
            buffer.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
}

/// `numeric`: groups of four decimal digits, counted from the point.
fn put_decimal(buffer: &mut Vec<u8>, value: Decimal) -> Result<(), BoxDynError> {
    const POSITIVE: u16 = 0;
    const NEGATIVE: u16 = 0x4000;
    /// A mantissa of 96 bits has 29 digits: at most eight groups, and one more where the point parts one.
    const GROUPS_MAX: usize = 9;
    let scale = value.scale();
    let mut rest = value.mantissa().unsigned_abs() * 10_u128.pow((4 - scale % 4) % 4);
    let fraction_groups = i16::try_from(scale.div_ceil(4))?;
    let mut groups = [0_i16; GROUPS_MAX];
    let mut count = 0;
    let mut dropped = 0;
    while rest > 0 {
        let group = (rest % 10_000) as i16;
        rest /= 10_000;
        // Zeros at the end are not stored.
        if count == 0 && group == 0 {
            dropped += 1;
        } else {
            groups[count] = group;
            count += 1;
        }
    }
    let weight = if count == 0 { 0 } else { i16::try_from(count)? + dropped - fraction_groups - 1 };
    let sign = if value.is_sign_negative() && count > 0 { NEGATIVE } else { POSITIVE };
    buffer.extend_from_slice(&i32::try_from(8 + 2 * count)?.to_be_bytes());
    buffer.extend_from_slice(&i16::try_from(count)?.to_be_bytes());
    buffer.extend_from_slice(&weight.to_be_bytes());
    buffer.extend_from_slice(&sign.to_be_bytes());
    buffer.extend_from_slice(&i16::try_from(scale)?.to_be_bytes());
    for group in groups[..count].iter().rev() {
        buffer.extend_from_slice(&group.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use rust_decimal::Decimal;

    use super::put_decimal;

    fn groups(text: &str) -> (i16, u16, i16, Vec<i16>) {
        let mut buffer = Vec::new();
        put_decimal(&mut buffer, Decimal::from_str(text).unwrap()).unwrap();
        let number = |at: usize| i16::from_be_bytes([buffer[at], buffer[at + 1]]);
        assert_eq!(i32::from_be_bytes(buffer[..4].try_into().unwrap()) as usize, buffer.len() - 4);
        let digits = (0..number(4) as usize).map(|index| number(12 + 2 * index)).collect();
        (number(6), number(8).cast_unsigned(), number(10), digits)
    }

    #[test]
    fn decimals_are_parted_at_the_point() {
        assert_eq!(groups("0.00"), (0, 0, 2, vec![]));
        assert_eq!(groups("100.00"), (0, 0, 2, vec![100]));
        assert_eq!(groups("-12345.67"), (1, 0x4000, 2, vec![1, 2345, 6700]));
        assert_eq!(groups("0.0009"), (-1, 0, 4, vec![9]));
        assert_eq!(groups("10000"), (1, 0, 0, vec![1]));
        assert_eq!(groups("9999999999999999.99"), (3, 0, 2, vec![9999, 9999, 9999, 9999, 9900]));
        assert_eq!(groups("79228162514264337593543950335").3.len(), 8);
        assert_eq!(groups("0.9"), (-1, 0, 1, vec![9000]));
    }
}
