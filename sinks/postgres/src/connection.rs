//! One connection with its time-outs, and the small vocabulary in which the rest of the crate speaks to the server.
//!
//! A connection that failed or was cut off in the middle of a call is not used again: whoever holds it lets it go, and the
//! server rolls back. All names are looked up in the store's schema alone.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection};
use tidemark_sink_core::sql::quoted;

use crate::failure::{Failure, fatal};
use crate::options::PostgresOptions;

/// Statements kept prepared: three for each entity.
const STATEMENTS_MAX: usize = 256;
/// What the client grants beyond the server's own time-out, so that it is the server that ends a slow statement.
const GRACE: Duration = Duration::from_secs(5);

/// Where the server is.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) options: PostgresOptions,
}

/// One connection.
pub(crate) struct Connection {
    inner: PgConnection,
    answer_timeout: Duration,
}

impl Server {
    /// Host, port, database and schema, for people; no secret.
    pub(crate) fn place(&self) -> String {
        let schema = &self.options.schema;
        match PgConnectOptions::from_str(&self.options.url) {
            Ok(url) => {
                let host = url.get_socket().map_or_else(|| url.get_host().to_owned(), |path| path.display().to_string());
                let database = url.get_database().unwrap_or_else(|| url.get_username());
                format!("{host}:{}/{database}, schema {schema}", url.get_port())
            }
            Err(_) => format!("Postgres, schema {schema}"),
        }
    }

    /// Connects and sets what every session needs.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let options = &self.options;
        if let Some(problem) = options.problems().into_iter().next() {
            return Err(fatal("reading the configuration of the relational store".to_owned(), problem).into());
        }
        let mut url = PgConnectOptions::from_str(&options.url)?
            .statement_cache_capacity(STATEMENTS_MAX)
            // The statements' texts, slow ones too, are the server's to log.
            .disable_statement_logging();
        if url.get_application_name().is_none() {
            url = url.application_name("tidemark");
        }
        let connecting = tokio::time::timeout(options.connect_timeout, PgConnection::connect_with(&url));
        let inner = connecting.await.map_err(|_| Failure::Silent(options.connect_timeout))??;
        let mut connection = Connection { inner, answer_timeout: options.answer_timeout };
        connection
            .run(format!(
                "SET search_path = {}; SET client_min_messages = warning; SET standard_conforming_strings = on; \
                 SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}",
                quoted(&options.schema),
                options.answer_timeout.as_millis(),
                options.abandoned_after.as_millis()
            ))
            .await?;
        Ok(connection)
    }
}

impl Connection {
    /// Runs statements that return nothing. No value of a row is ever part of them.
    pub(crate) async fn run(&mut self, sql: String) -> Result<(), Failure> {
        let running = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.inner);
        answered(self.answer_timeout + GRACE, running).await?;
        Ok(())
    }

    /// The same for one that takes as long as it takes.
    pub(crate) async fn run_patiently(&mut self, sql: &str) -> Result<(), Failure> {
        let sql = format!("SET statement_timeout = 0; {sql}; SET statement_timeout = {}", self.answer_timeout.as_millis());
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.inner).await?;
        Ok(())
    }

    /// Rows of statements without parameters.
    pub(crate) async fn rows(&mut self, sql: String) -> Result<Vec<PgRow>, Failure> {
        let fetching = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.inner);
        answered(self.answer_timeout + GRACE, fetching).await
    }

    /// Runs a prepared statement; returns how many rows it touched.
    pub(crate) async fn execute(&mut self, sql: &Arc<str>, arguments: PgArguments) -> Result<u64, Failure> {
        let running = sqlx::query_with(AssertSqlSafe(Arc::clone(sql)), arguments).execute(&mut self.inner);
        Ok(answered(self.answer_timeout + GRACE, running).await?.rows_affected())
    }

    /// Ends what is open.
    pub(crate) async fn rollback(&mut self) -> Result<(), Failure> {
        self.run("ROLLBACK".to_owned()).await
    }
}

async fn answered<T>(patience: Duration, call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Silent(patience)),
    }
}
