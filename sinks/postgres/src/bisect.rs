//! Finding the rows that the server refuses, without writing any.
//!
//! A statement fails as a whole, and its error does not say which of a thousand rows it means. So the rows are tried in halves,
//! each behind a savepoint, within one transaction that is rolled back. What passes a try stays until then, so that later tries
//! see what the batch would see.

use tidemark_sink_core::{RejectedRow, SinkBatch, SinkRow, refused};

use crate::apply::Chunk;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::poison;

/// All rows of the batch that the server refuses.
pub(crate) async fn refused(
    connection: &mut Connection,
    batch: &SinkBatch,
    chunks: &[Chunk<'_, '_>],
) -> Result<Vec<RejectedRow>, Failure> {
    connection.rollback().await?;
    connection.run("BEGIN ISOLATION LEVEL READ COMMITTED".to_owned()).await?;
    let mut refused = Vec::new();
    for chunk in chunks {
        // Halves that are still to be tried, the first on top.
        let mut waiting: Vec<&[SinkRow<'_>]> = vec![chunk.rows];
        while let Some(rows) = waiting.pop() {
            let Some(problem) = try_rows(connection, chunk, rows).await? else { continue };
            if let [row] = rows {
                refused.push(poison::rejected(batch, row, refused::BY_STORE, &format!("Postgres refuses the row: {problem}")));
                continue;
            }
            let (lower, upper) = rows.split_at(rows.len() / 2);
            waiting.push(upper);
            waiting.push(lower);
        }
    }
    connection.rollback().await?;
    Ok(refused)
}

/// What the server says against these rows; `None` when it takes them.
async fn try_rows(connection: &mut Connection, chunk: &Chunk<'_, '_>, rows: &[SinkRow<'_>]) -> Result<Option<String>, Failure> {
    if rows.is_empty() {
        return Ok(None);
    }
    connection.run("SAVEPOINT try".to_owned()).await?;
    match chunk.table.upsert(connection, rows, chunk.gate).await {
        Ok(_) => {
            connection.run("RELEASE SAVEPOINT try".to_owned()).await?;
            Ok(None)
        }
        Err(failure) => match failure.of_data() {
            Some(problem) => {
                connection.run("ROLLBACK TO SAVEPOINT try; RELEASE SAVEPOINT try".to_owned()).await?;
                Ok(Some(problem))
            }
            None => Err(failure),
        },
    }
}
