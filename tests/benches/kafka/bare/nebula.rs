//! Rows into NebulaGraph: `INSERT VERTEX` of 256 rows a statement, texts as parameters, and the edges of rows that are new.
//!
//! The rows of a later revision have the edges that they had. That must be asked for all the same, gate or no gate: an edge that a
//! row has no more is known by nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tidemark_schemas::entity::{Column, FieldType};
use tidemark_schemas::{Catalog, Cell, Entity, State, json, text};
use tidemark_sink_core::graph::each_target;
use tidemark_sink_nebula::{Statement, Statements};

use super::Task;
use crate::stores;

/// Rows of one statement, as the sink has it.
const STATEMENT_ROWS: usize = 256;

pub(super) struct Writer {
    statements: Statements,
    entity: Arc<Entity>,
    /// `INSERT VERTEX … VALUES `.
    head: String,
    is_first: bool,
}

impl Writer {
    pub(super) fn new(task: &Task, catalog: &Catalog, entity: &Arc<Entity>) -> Result<Self> {
        let options = stores::nebula(&task.address, &task.place);
        let statements = Statements::new(options, catalog).map_err(|problem| anyhow!(problem))?;
        let mut names: Vec<String> = ["key", "tenant", "version", "deleted_at", "changed_at"].map(str::to_owned).into();
        for column in &entity.columns {
            names.push(column.name.clone());
            if is_money(entity, column) {
                names.push(format!("{}_fen", column.name));
            }
        }
        let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(",");
        let head = format!("INSERT VERTEX `{}` ({names}) VALUES ", entity.name);
        Ok(Self { statements, entity: Arc::clone(entity), head, is_first: task.revision == 0 })
    }

    pub(super) async fn write(&mut self, rows: &[State<'_>]) -> Result<()> {
        let vertices: Vec<Statement> = rows.chunks(STATEMENT_ROWS).map(|rows| self.vertices(rows)).collect();
        self.run(&vertices).await?;
        let edges = if self.is_first { self.edges(rows) } else { self.looks(rows) };
        self.run(&edges).await
    }

    async fn run(&mut self, statements: &[Statement]) -> Result<()> {
        self.statements.run(statements).await.map_err(|problem| anyhow!(problem))
    }

    fn vertices(&self, rows: &[State<'_>]) -> Statement {
        let mut statement = Statement::from(self.head.clone());
        let mut names = 0..;
        let mut bind = |statement: &mut Statement, value: &str| {
            let name = format!("p{}", names.next().unwrap_or(0));
            statement.text.push('$');
            statement.text.push_str(&name);
            statement.bind(&name, value);
        };
        for (index, state) in rows.iter().enumerate() {
            statement.text.push_str(if index > 0 { ",\"" } else { "\"" });
            // No code of these rows needs to be escaped.
            let _ = write!(statement.text, "{}:{}\":(", self.entity.name, state.key);
            bind(&mut statement, &state.key);
            statement.text.push(',');
            match &state.tenant {
                Some(tenant) => bind(&mut statement, tenant),
                None => statement.text.push_str("NULL"),
            }
            let _ = write!(statement.text, ",{},NULL,", state.version);
            moment(state.changed_at, &mut statement.text);
            for column in &self.entity.columns {
                statement.text.push(',');
                let cell = column.path.get(&state.row);
                match cell {
                    Cell::Null => statement.text.push_str("NULL"),
                    Cell::Bool(value) => statement.text.push_str(if *value { "true" } else { "false" }),
                    Cell::Int(value) => text::write_int(*value, &mut statement.text),
                    Cell::Text(value) => bind(&mut statement, value),
                    Cell::Date(days) => {
                        statement.text.push_str("date(\"");
                        text::write_date(*days, &mut statement.text);
                        statement.text.push_str("\")");
                    }
                    Cell::Timestamp(micros) => moment(*micros, &mut statement.text),
                    Cell::Decimal(value) => {
                        let mut shown = String::new();
                        text::write_decimal(*value, value.scale(), &mut shown);
                        bind(&mut statement, &shown);
                    }
                    Cell::Record(_) | Cell::Array(_) => {
                        let mut shown = String::new();
                        json::write_cell(&self.entity.field(column.number).kind, cell, &mut shown);
                        bind(&mut statement, &shown);
                    }
                }
                if is_money(&self.entity, column) {
                    match cell {
                        Cell::Decimal(value) => {
                            let _ = write!(statement.text, ",{}", value.mantissa());
                        }
                        _ => statement.text.push_str(",NULL"),
                    }
                }
            }
            statement.text.push(')');
        }
        statement
    }

    /// Asks for the edges that the rows have.
    fn looks(&self, rows: &[State<'_>]) -> Vec<Statement> {
        let kinds: BTreeSet<&str> = self.entity.references.iter().map(|reference| reference.reference.edge.as_str()).collect();
        if kinds.is_empty() {
            return Vec::new();
        }
        let kinds: Vec<String> = kinds.into_iter().map(|kind| format!("`{kind}`")).collect();
        let look = |rows: &[State<'_>]| {
            let ids: Vec<String> = rows.iter().map(|state| format!("\"{}:{}\"", self.entity.name, state.key)).collect();
            Statement::from(format!(
                "GO FROM {} OVER {} YIELD src(edge) AS source, type(edge) AS kind, rank(edge) AS place, dst(edge) AS target",
                ids.join(","),
                kinds.join(",")
            ))
        };
        rows.chunks(STATEMENT_ROWS).map(look).collect()
    }

    fn edges(&self, rows: &[State<'_>]) -> Vec<Statement> {
        let mut by_kind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for state in rows {
            for reference in &self.entity.references {
                let edges = by_kind.entry(&reference.reference.edge).or_default();
                each_target(reference, &state.row, |target, code, rank| {
                    edges.push(format!("\"{}:{}\"->\"{target}:{code}\"@{rank}:()", self.entity.name, state.key));
                });
            }
        }
        let mut statements = Vec::new();
        for (kind, edges) in &by_kind {
            for edges in edges.chunks(STATEMENT_ROWS) {
                statements.push(Statement::from(format!("INSERT EDGE `{kind}` () VALUES {}", edges.join(","))));
            }
        }
        statements
    }
}

/// Kept in whole fen as well.
fn is_money(entity: &Entity, column: &Column) -> bool {
    matches!(entity.field(column.number).kind, FieldType::Decimal { scale: 2, .. })
}

/// The stand-in's zone is UTC.
fn moment(micros: i64, out: &mut String) {
    out.push_str("datetime(\"");
    text::write_timestamp(micros, out);
    if out.ends_with('Z') {
        out.pop();
    }
    out.push_str("\")");
}
