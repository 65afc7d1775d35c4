//! Statements of somebody else's own, over the sink's client: what a bare writer needs to compare itself with the sink.

use std::time::Duration;

use tidemark_schemas::Catalog;
use tokio::time::Instant;

use crate::NebulaOptions;
use crate::client::{Pool, Statement};
use crate::setup::Setup;

/// How long the statements of one call may take, all together.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sessions in the space of a store.
pub struct Statements {
    pool: Pool,
}

impl Statements {
    /// Nothing is connected yet. The error says what to correct in the options.
    pub fn new(options: NebulaOptions, catalog: &Catalog) -> Result<Self, String> {
        let setup = Setup::new(options, catalog)?;
        Ok(Self { pool: Pool::new(&setup.client, &setup.space, setup.sessions) })
    }

    /// Runs statements side by side, in any order, each once. The error tells what became of the first that failed.
    pub async fn run(&mut self, statements: &[Statement]) -> Result<(), String> {
        for outcome in self.pool.execute_all(statements, Instant::now() + PATIENCE).await {
            match outcome {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err(format!("not sent within {PATIENCE:?}, or after another one failed")),
            }
        }
        Ok(())
    }
}
