//! Rows into Postgres, in its binary form: one array for each column (`UNNEST`), or a `COPY` into a temporary table and from there.
//! Two connections take half of a batch each.

use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use rust_decimal::Decimal;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments, AssertSqlSafe, Connection, PgConnection, Postgres, Type};
use tidemark_schemas::entity::{Column, FieldType};
use tidemark_schemas::{Cell, Entity, State, json};

use super::{Task, Way};

/// 1970-01-01 to 2000-01-01, where Postgres begins to count.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Columns that every table has, before the entity's own.
const COMMON: [(&str, PgType); 5] = [
    ("key", TEXT),
    ("version", PgType { name: "bigint", oid: 20, array: 1016 }),
    ("tenant", TEXT),
    ("deleted_at", MOMENT),
    ("changed_at", MOMENT),
];
const TEXT: PgType = PgType { name: "text", oid: 25, array: 1009 };
const MOMENT: PgType = PgType { name: "timestamptz", oid: 1184, array: 1185 };

/// A type with its numbers (`pg_type.dat`).
#[derive(Debug, Clone, Copy)]
struct PgType {
    name: &'static str,
    oid: u32,
    array: u32,
}

impl PgType {
    fn of(kind: &FieldType) -> Self {
        match kind {
            FieldType::Bool => Self { name: "boolean", oid: 16, array: 1000 },
            FieldType::Int { .. } => COMMON[1].1,
            FieldType::Text { .. } => TEXT,
            FieldType::Decimal { .. } => Self { name: "numeric", oid: 1700, array: 1231 },
            FieldType::Date => Self { name: "date", oid: 1082, array: 1182 },
            FieldType::Timestamp => MOMENT,
            FieldType::Record(_) | FieldType::Array(_) => Self { name: "jsonb", oid: 3802, array: 3807 },
        }
    }
}

/// An array as the server reads it.
struct Array {
    kind: PgType,
    bytes: Vec<u8>,
}

impl Type<Postgres> for Array {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(TEXT.array))
    }
}

impl Encode<'_, Postgres> for Array {
    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.kind.array)))
    }

    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }
}

pub(super) struct Writer {
    lanes: [PgConnection; 2],
    shape: Shape,
}

/// What is written.
struct Shape {
    entity: Arc<Entity>,
    types: Vec<PgType>,
    way: Way,
    /// `INSERT …`, from arrays or from the temporary table.
    insert: Arc<str>,
}

impl Writer {
    pub(super) async fn connect(task: &Task, entity: &Arc<Entity>) -> Result<Self> {
        let mut names: Vec<&str> = COMMON.iter().map(|(name, _)| *name).collect();
        let mut types: Vec<PgType> = COMMON.iter().map(|(_, kind)| *kind).collect();
        for column in &entity.columns {
            names.push(&column.name);
            types.push(PgType::of(&entity.field(column.number).kind));
        }
        let table = format!("\"{}\".\"{}\"", task.place, entity.name);
        let list = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",");
        let arrays = types.iter().enumerate().map(|(index, kind)| format!("${}::{}[]", index + 1, kind.name));
        let sets = names[1..].iter().map(|name| format!("\"{name}\" = excluded.\"{name}\"")).collect::<Vec<_>>().join(",");
        let source = match task.way {
            Way::Sink => format!("SELECT * FROM unnest({})", arrays.collect::<Vec<_>>().join(",")),
            Way::Copy => "SELECT * FROM staging".to_owned(),
        };
        let insert = format!("INSERT INTO {table}({list}) {source} ON CONFLICT (\"key\") DO UPDATE SET {sets}");
        let mut lanes = [PgConnection::connect(&task.address).await?, PgConnection::connect(&task.address).await?];
        if task.way == Way::Copy {
            let staging = format!("CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS AS SELECT {list} FROM {table} LIMIT 0");
            for lane in &mut lanes {
                sqlx::raw_sql(AssertSqlSafe(staging.clone())).execute(lane).await?;
            }
        }
        let shape = Shape { entity: Arc::clone(entity), types, way: task.way, insert: insert.into() };
        Ok(Self { lanes, shape })
    }

    pub(super) async fn write(&mut self, rows: &[State<'_>]) -> Result<()> {
        let (lower, upper) = rows.split_at(rows.len() / 2);
        let [first, second] = &mut self.lanes;
        tokio::try_join!(self.shape.write(first, lower), self.shape.write(second, upper))?;
        Ok(())
    }
}

impl Shape {
    async fn write(&self, lane: &mut PgConnection, rows: &[State<'_>]) -> Result<()> {
        let done = match self.way {
            Way::Sink => {
                let insert = AssertSqlSafe(Arc::clone(&self.insert));
                sqlx::query_with(insert, self.arrays(rows)?).execute(lane).await?
            }
            Way::Copy => {
                let mut transaction = lane.begin().await?;
                let mut copy = transaction.copy_in_raw("COPY staging FROM STDIN (FORMAT binary)").await?;
                copy.send(self.tuples(rows)?).await?;
                copy.finish().await?;
                let done = sqlx::query(AssertSqlSafe(Arc::clone(&self.insert))).execute(&mut *transaction).await?;
                transaction.commit().await?;
                done
            }
        };
        ensure!(done.rows_affected() == rows.len() as u64, "{} of {} rows written", done.rows_affected(), rows.len());
        Ok(())
    }

    fn arrays(&self, rows: &[State<'_>]) -> Result<PgArguments> {
        let mut arguments = PgArguments::default();
        for (index, kind) in self.types.iter().enumerate() {
            let mut bytes = Vec::with_capacity(20 + rows.len() * 16);
            // dimensions, "may hold nulls", element type, length, first index
            for number in [1, 1, kind.oid.cast_signed(), i32::try_from(rows.len())?, 1] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            for state in rows {
                self.put(index, state, &mut bytes)?;
            }
            arguments.add(Array { kind: *kind, bytes }).map_err(|error| anyhow!(error))?;
        }
        Ok(arguments)
    }

    fn tuples(&self, rows: &[State<'_>]) -> Result<Vec<u8>> {
        let mut bytes = b"PGCOPY\n\xFF\r\n\0".to_vec();
        // flags, length of an extension of the header
        bytes.extend_from_slice(&[0; 8]);
        let count = i16::try_from(self.types.len())?;
        for state in rows {
            bytes.extend_from_slice(&count.to_be_bytes());
            for index in 0..self.types.len() {
                self.put(index, state, &mut bytes)?;
            }
        }
        bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        Ok(bytes)
    }

    /// One value, its length before it.
    fn put(&self, index: usize, state: &State<'_>, out: &mut Vec<u8>) -> Result<()> {
        match index {
            0 => sized(out, state.key.as_bytes()),
            1 => sized(out, &state.version.to_be_bytes()),
            2 => match &state.tenant {
                Some(tenant) => sized(out, tenant.as_bytes()),
                None => out.extend_from_slice(&NULL),
            },
            // None of these rows is deleted.
            3 => out.extend_from_slice(&NULL),
            4 => sized(out, &(state.changed_at - EPOCH_MICROS).to_be_bytes()),
            _ => cell(&self.entity, &self.entity.columns[index - COMMON.len()], &state.row, out)?,
        }
        Ok(())
    }
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn cell(entity: &Entity, column: &Column, row: &[Cell<'_>], out: &mut Vec<u8>) -> Result<()> {
    let cell = column.path.get(row);
    match cell {
        Cell::Null => out.extend_from_slice(&NULL),
        Cell::Bool(value) => sized(out, &[u8::from(*value)]),
        Cell::Int(value) => sized(out, &value.to_be_bytes()),
        Cell::Text(value) => sized(out, value.as_bytes()),
        Cell::Decimal(value) => decimal(*value, out)?,
        Cell::Date(days) => sized(out, &(days - EPOCH_DAYS).to_be_bytes()),
        Cell::Timestamp(micros) => sized(out, &(micros - EPOCH_MICROS).to_be_bytes()),
        Cell::Record(_) | Cell::Array(_) => {
            // The version of the form stands before the text.
            let mut text = String::from("\u{1}");
            json::write_cell(&entity.field(column.number).kind, cell, &mut text);
            sized(out, text.as_bytes());
        }
    }
    Ok(())
}

/// `numeric` of at most four places after the point, not negative: groups of four digits, the last one after the point.
fn decimal(value: Decimal, out: &mut Vec<u8>) -> Result<()> {
    ensure!(value.scale() <= 4 && !value.is_sign_negative(), "{value} is no value of these rows");
    let mut rest = value.mantissa().unsigned_abs() * 10_u128.pow(4 - value.scale());
    let mut groups = Vec::with_capacity(6);
    while rest > 0 || groups.len() < 2 {
        groups.push((rest % 10_000) as u16);
        rest /= 10_000;
    }
    let count = groups.len() as u16;
    out.extend_from_slice(&(8 + 2 * u32::from(count)).to_be_bytes());
    // how many, the weight of the first, sign, places shown
    for number in [count, count - 2, 0, value.scale() as u16] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for group in groups.iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
    Ok(())
}
