//! Several sessions side by side: a session runs one statement at a time, and a server does many.
//!
//! The statements of one call must not depend on each other: which comes first is left open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::future::join_all;
use tokio::time::Instant;

use super::{ClientError, ClientOptions, Properties, Reply, Session, Value};
use crate::ngql::Name;

/// A statement with the values of its `$name`s.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// The statement.
    pub text: String,
    pub(crate) parameters: Properties,
}

impl Statement {
    /// Gives a `$name` its text.
    pub fn bind(&mut self, name: &str, text: &str) {
        self.parameters.push((name.as_bytes().to_vec(), Value::text(text)));
    }
}

impl From<String> for Statement {
    fn from(text: String) -> Self {
        Self { text, parameters: Properties::new() }
    }
}

/// Sessions over one space.
pub(crate) struct Pool {
    sessions: Vec<Session>,
}

impl Pool {
    pub(crate) fn new(options: &Arc<ClientOptions>, space: &Name, count: usize) -> Self {
        Self { sessions: (0..count.max(1)).map(|number| Session::new(options, Some(space), number)).collect() }
    }

    /// One of the sessions, for statements that follow each other.
    pub(crate) fn first(&mut self) -> &mut Session {
        &mut self.sessions[0]
    }

    /// Sends the statements, each at most once, none after `until`. Per statement: its outcome, or nothing if it was not sent. When
    /// one fails with anything but the server's refusal, those that were not sent yet are left.
    pub(crate) async fn execute_all(
        &mut self,
        statements: &[Statement],
        until: Instant,
    ) -> Vec<Option<Result<Reply, ClientError>>> {
        let next = AtomicUsize::new(0);
        let stopped = AtomicBool::new(false);
        let lanes = self.sessions.iter_mut().take(statements.len().max(1));
        let lanes = lanes.map(|session| lane(session, statements, &next, &stopped, until));
        let mut outcomes: Vec<_> = statements.iter().map(|_| None).collect();
        for (index, outcome) in join_all(lanes).await.into_iter().flatten() {
            outcomes[index] = Some(outcome);
        }
        outcomes
    }
}

async fn lane(
    session: &mut Session,
    statements: &[Statement],
    next: &AtomicUsize,
    stopped: &AtomicBool,
    until: Instant,
) -> Vec<(usize, Result<Reply, ClientError>)> {
    let mut outcomes = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(statement) = statements.get(index) else { break };
        if let Err(error) = session.ensure().await {
            stopped.store(true, Ordering::Relaxed);
            outcomes.push((index, Err(error)));
            break;
        }
        // Looked at last, after whatever took its time.
        if Instant::now() >= until {
            break;
        }
        let outcome = session.execute(&statement.text, &statement.parameters).await;
        if !matches!(outcome, Ok(_) | Err(ClientError::Server { .. })) {
            stopped.store(true, Ordering::Relaxed);
        }
        outcomes.push((index, outcome));
    }
    outcomes
}
