//! Postgres's errors by class: what may work later, which rows are to blame, and what needs a person.
//!
//! The class comes from the SQLSTATE alone (PostgreSQL documentation, appendix A). What a successor or a rebuilt object heals
//! (a table that somebody dropped is made anew at the next open) counts as unavailable; everything unclassified is fatal. Of a
//! server's error only message and code are kept: its detail may show a row.

use std::fmt;
use std::io;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use tidemark_sink_core::{Role, SinkError};

/// How the store is built anew.
pub(crate) const REBUILD: &str = Role::Relational.remedy();

/// What stopped a job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Server(#[from] sqlx::Error),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// A server's error without its detail.
#[derive(Debug)]
pub(crate) struct ServerError {
    code: String,
    message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (SQLSTATE {})", self.message, self.code)
    }
}

impl std::error::Error for ServerError {}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Unavailable,
    Data,
    Fatal,
}

/// The class of a SQLSTATE and, where there is one, the remedy.
fn class_of(code: &str) -> (Class, &'static str) {
    match code {
        "25006" => (Class::Unavailable, "the server is read-only: it is a standby, or was set so"),
        "3D000" => (Class::Fatal, "make the database (`createdb`) or correct the url"),
        "42501" => (
            Class::Fatal,
            "grant the role CREATE on the database (or make the schema for it) and ownership of the tables in the schema",
        ),
        "42P01" | "42703" | "3F000" => (Class::Unavailable, "somebody dropped what the store needs; it is made and filled anew"),
        "2BP01" => (Class::Fatal, "drop the views that depend on the store's tables, then try again"),
        "54000" | "P0001" | "44000" => (Class::Data, ""),
        _ => match code.get(..2).unwrap_or_default() {
            // connection, transaction rollback, resources, locks and states, operator, input and output of the system
            "08" | "40" | "53" | "55" | "57" | "58" => (Class::Unavailable, ""),
            "25" => (Class::Unavailable, ""),
            "22" | "23" => (Class::Data, ""),
            "28" => (Class::Fatal, "correct user and password in the url, and let the role in (`pg_hba.conf`)"),
            "XX" => (Class::Fatal, "the server calls this an internal error; see its log"),
            _ => (Class::Fatal, ""),
        },
    }
}

/// The same of a whole error. A check that fails without a constraint is that of a parted table: no partition takes the row.
fn class_of_error(error: &dyn DatabaseError) -> (Class, &'static str) {
    match error.code().unwrap_or_default().as_ref() {
        "23514" if error.constraint().is_none() => (
            Class::Unavailable,
            "a partition is missing; one that somebody dropped is made anew, one that was detached must be attached again or renamed",
        ),
        code => class_of(code),
    }
}

impl Failure {
    /// The server's complaint, if it is about values of rows.
    pub(crate) fn of_data(&self) -> Option<String> {
        let Self::Server(sqlx::Error::Database(error)) = self else { return None };
        let code = error.code()?;
        (class_of_error(&**error).0 == Class::Data).then(|| format!("{} (SQLSTATE {code})", error.message()))
    }

    /// Whether two have made something of one name at the same time: `IF NOT EXISTS` does not see what is not committed.
    pub(crate) fn is_of_two_makers(&self) -> bool {
        let Self::Server(sqlx::Error::Database(error)) = self else { return false };
        error.is_unique_violation() && error.table() == Some("pg_class")
    }

    /// Gives the error its class and names the place.
    pub(crate) fn classify(self, place: &str, step: &str) -> SinkError {
        let step = format!("{step} {place}");
        match self {
            Self::Sink(error) => error,
            Self::Silent(_) => SinkError::Unavailable { step, cause: self.to_string().into() },
            Self::Server(sqlx::Error::Database(error)) => {
                let (class, remedy) = class_of_error(&*error);
                let error = error.downcast::<PgDatabaseError>();
                let step = if remedy.is_empty() { step } else { format!("{step}: {remedy}") };
                let cause = Box::new(ServerError { code: error.code().to_owned(), message: error.message().to_owned() });
                match class {
                    Class::Unavailable => SinkError::Unavailable { step, cause },
                    Class::Data | Class::Fatal => SinkError::Fatal { step, cause },
                }
            }
            Self::Server(error) if is_of_tls(&error) => {
                fatal(format!("{step}: correct `sslmode` and `sslrootcert` in the url, or the server's certificate"), error)
            }
            Self::Server(error @ (sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed)) => {
                SinkError::Unavailable { step, cause: error.into() }
            }
            Self::Server(error @ sqlx::Error::Configuration(_)) => fatal(format!("{step}: correct the url"), error),
            Self::Server(error) => fatal(step, error),
        }
    }
}

/// Whether it was not the network but the certificate: rustls tells of that as of invalid data.
fn is_of_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("certificate"),
        _ => false,
    }
}

/// A fault that needs a person.
pub(crate) fn fatal(step: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
    SinkError::Fatal { step, cause: cause.into() }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tidemark_sink_core::SinkError;

    use super::{Class, Failure, class_of};

    #[test]
    fn a_wrong_certificate_needs_a_person_and_a_lost_connection_does_not() {
        let certificate = io::Error::new(io::ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer");
        let error = Failure::from(sqlx::Error::Io(certificate)).classify("here", "opening");
        assert!(matches!(&error, SinkError::Fatal { step, .. } if step.contains("sslrootcert")), "{error}");
        let lost = io::Error::new(io::ErrorKind::UnexpectedEof, "end of stream");
        let error = Failure::from(sqlx::Error::Io(lost)).classify("here", "opening");
        assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    }

    #[test]
    fn each_code_has_its_class() {
        for (code, class) in [
            ("08006", Class::Unavailable),
            ("40001", Class::Unavailable),
            ("40P01", Class::Unavailable),
            ("53300", Class::Unavailable),
            ("53100", Class::Unavailable),
            ("55P03", Class::Unavailable),
            ("57014", Class::Unavailable),
            ("57P01", Class::Unavailable),
            ("57P03", Class::Unavailable),
            ("25006", Class::Unavailable),
            ("25P03", Class::Unavailable),
            ("42P01", Class::Unavailable),
            ("22021", Class::Data),
            ("22P02", Class::Data),
            ("23502", Class::Data),
            ("54000", Class::Data),
            ("28P01", Class::Fatal),
            ("3D000", Class::Fatal),
            ("42501", Class::Fatal),
            ("42804", Class::Fatal),
            ("XX001", Class::Fatal),
            ("", Class::Fatal),
        ] {
            assert_eq!(class_of(code).0, class, "{code}");
        }
    }
}
