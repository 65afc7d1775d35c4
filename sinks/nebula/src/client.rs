//! A client of NebulaGraph 3.x: THeader frames, the compact protocol, sessions, several addresses.
//!
//! Guarantees: a reply is taken only for the call that it answers; after a time-out, a broken frame or a caller that went away
//! in between, the connection is closed and never used again. Whatever a server sends, nothing panics and no more memory is set
//! aside than the bounds allow. A session that expired is replaced, its space chosen again, and the statement sent once more
//! (the server did not run it).
//! On failure: an error says whether the server refused the statement or its outcome is unknown. Nothing is repeated here that
//! may have been run; the caller's statements are idempotent and the engine repeats the batch.
//! Not here: what statements mean ([`crate::ngql`]), and what becomes of an error ([`crate::failure`]).

mod calls;
mod compact;
mod connection;
mod frame;
mod pool;
mod session;
mod tls;
mod value;

use std::time::Duration;

pub(crate) use calls::Reply;
pub(crate) use pool::Pool;
pub use pool::Statement;
pub(crate) use session::Session;
pub(crate) use tls::Tls;
pub(crate) use value::{Properties, Value};

/// Bytes that a server sends and that are no message of the protocol.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ProtocolError(std::borrow::Cow<'static, str>);

impl ProtocolError {
    fn new(problem: &'static str) -> Self {
        Self(problem.into())
    }

    fn owned(problem: String) -> Self {
        Self(problem.into())
    }
}

/// Why a statement has no good reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No address could be reached; nothing was sent.
    #[error("no address of NebulaGraph can be reached: {0}")]
    Unreachable(String),
    /// The connection failed while the call was under way: its outcome is unknown.
    #[error("the connection to {address} failed: {problem}")]
    Broken {
        /// Where to.
        address: String,
        /// Why.
        problem: String,
    },
    /// The login was refused.
    #[error("{address} refuses user `{user}`: {message}")]
    Login {
        /// Where to.
        address: String,
        /// Who.
        user: String,
        /// Why.
        message: String,
    },
    /// The server refused the statement or could not do it.
    #[error("error {code}: {message}")]
    Server {
        /// Negative number.
        code: i32,
        /// In the server's words.
        message: String,
    },
}

/// Whom to talk to, as whom, and within which bounds.
#[derive(Debug)]
pub(crate) struct ClientOptions {
    /// `host:port`, tried in turn.
    pub(crate) addresses: Vec<String>,
    /// User.
    pub(crate) user: String,
    /// Password.
    pub(crate) password: Secret,
    /// TLS, if the servers speak it.
    pub(crate) tls: Option<Tls>,
    /// How long a connection and a login may take.
    pub(crate) connect_timeout: Duration,
    /// How long one statement may take. Shorter than the server's own limit on storage (60 s) would give up what still runs.
    pub(crate) request_timeout: Duration,
    /// Largest reply that is read.
    pub(crate) reply_bytes_max: usize,
}

/// A password that no `Debug` shows.
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

#[cfg(test)]
pub(crate) mod tests;
