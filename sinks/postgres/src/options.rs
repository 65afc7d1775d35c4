//! What a person says about the store: where it is, and how long it may take.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

/// Longest name that Postgres keeps whole.
pub(crate) const NAME_BYTES_MAX: usize = 63;

const URL_FORM: &str = "postgres://user:password@host:5432/database";

/// Where the store is and how it is used.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=…`, as libpq reads it.
    pub url: String,
    /// The schema that holds the tables; made when it is not there.
    pub schema: String,
    /// Connections that write a large batch side by side: 1 or 2. Two fill two cores of the server.
    pub lanes: usize,
    /// How long to wait for a connection. Shorter ones give up on a busy server, longer ones notice a lost one later.
    pub connect_timeout: Duration,
    /// How long one statement may take. Shorter ones fail on slow disks, longer ones notice a lost connection later.
    pub answer_timeout: Duration,
    /// How long the server keeps an open transaction whose worker says nothing: as long, a worker that was stopped in the middle
    /// of one can hold up its successor.
    pub abandoned_after: Duration,
}

impl PostgresOptions {
    /// With two lanes and the usual time-outs.
    pub fn new(url: impl Into<String>, schema: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            schema: schema.into(),
            lanes: 2,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(30),
            abandoned_after: Duration::from_secs(5),
        }
    }

    /// What is wrong with them, with the remedy; empty = fine. Nothing is connected.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let is_ours = ["postgres://", "postgresql://"].iter().any(|scheme| self.url.starts_with(scheme));
        if let Err(error) = PgConnectOptions::from_str(&self.url) {
            problems.push(format!("url: {error}; write it as {URL_FORM}"));
        } else if !is_ours {
            problems.push(format!("url: it is no address of Postgres; write it as {URL_FORM}"));
        }
        let schema = &self.schema;
        if schema.is_empty() || schema.len() > NAME_BYTES_MAX || schema.contains('\0') || schema.starts_with("pg_") {
            problems.push(format!("schema: `{schema}` must have 1 to {NAME_BYTES_MAX} bytes and not begin with `pg_`"));
        }
        if !(1..=2).contains(&self.lanes) {
            problems.push(format!("lanes: {} is not 1 or 2", self.lanes));
        }
        for (name, value) in [
            ("connect_timeout", self.connect_timeout),
            ("answer_timeout", self.answer_timeout),
            ("abandoned_after", self.abandoned_after),
        ] {
            if value < Duration::from_millis(1) {
                problems.push(format!("{name}: must be at least a millisecond"));
            }
        }
        problems
    }
}

impl fmt::Debug for PostgresOptions {
    /// Without the url, which may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PostgresOptions")
            .field("url", &"(redacted)")
            .field("schema", &self.schema)
            .field("lanes", &self.lanes)
            .field("connect_timeout", &self.connect_timeout)
            .field("answer_timeout", &self.answer_timeout)
            .field("abandoned_after", &self.abandoned_after)
            .finish()
    }
}
