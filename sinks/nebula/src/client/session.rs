//! A session: one statement at a time, on whichever address answers.

use std::sync::Arc;

use super::calls::{Call, Reply};
use super::connection::Connection;
use super::value::Properties;
use super::{ClientError, ClientOptions};
use crate::ngql::{self, Name};

/// Bad user or password.
const BAD_LOGIN: i32 = -1001;
/// The session is unknown, or has expired.
const SESSION_LOST: [i32; 2] = [-1002, -1003];

/// A session that logs in when it must.
pub(crate) struct Session {
    options: Arc<ClientOptions>,
    /// Chosen after every login.
    space: Option<Name>,
    /// Index of the address that is tried first.
    address: usize,
    live: Option<Live>,
    /// A session on the server that lost its connection.
    orphan: Option<i64>,
}

struct Live {
    connection: Connection,
    id: i64,
    utc_offset_seconds: i32,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.connection.sign_out_now(self.id);
    }
}

impl Session {
    /// Not connected yet. `first` says which address is tried first, so that several sessions spread over them.
    pub(crate) fn new(options: &Arc<ClientOptions>, space: Option<&Name>, first: usize) -> Self {
        Self { options: Arc::clone(options), space: space.cloned(), address: first, live: None, orphan: None }
    }

    /// Connects and logs in, unless that is done.
    pub(crate) async fn ensure(&mut self) -> Result<(), ClientError> {
        match &self.live {
            Some(live) if live.connection.is_sound() => return Ok(()),
            Some(live) => {
                self.orphan = Some(live.id);
                self.live = None;
                // The others may be well while this one is not.
                self.address += 1;
            }
            None => {}
        }
        let mut problems = Vec::new();
        for _ in 0..self.options.addresses.len() {
            let address = self.options.addresses[self.address % self.options.addresses.len()].clone();
            match self.connect(&address).await {
                Ok(live) => {
                    self.live = Some(live);
                    return Ok(());
                }
                Err(ClientError::Unreachable(problem) | ClientError::Broken { problem, .. }) => {
                    problems.push(format!("{address}: {problem}"));
                    self.address += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Err(ClientError::Unreachable(problems.join("; ")))
    }

    async fn connect(&mut self, address: &str) -> Result<Live, ClientError> {
        let mut connection = Connection::open(address, &self.options).await.map_err(ClientError::Unreachable)?;
        let verified = connection.call(Call::VerifyClientVersion, &self.options).await?;
        refuse(verified)?;
        let (id, utc_offset_seconds) = log_in(&mut connection, &self.options).await?;
        let mut live = Live { connection, id, utc_offset_seconds };
        if let Some(orphan) = self.orphan.take() {
            live.connection.call(Call::SignOut { session: orphan }, &self.options).await?;
        }
        choose_space(&mut live, self.space.as_ref(), &self.options).await?;
        Ok(live)
    }

    /// Runs a statement, once. What has no reply may or may not have been run.
    pub(crate) async fn execute(&mut self, statement: &str, parameters: &Properties) -> Result<Reply, ClientError> {
        self.ensure().await?;
        let reply = self.send(statement, parameters).await?;
        if !SESSION_LOST.contains(&reply.code) {
            return refuse(reply);
        }
        // Not run: the server did not know the session. A new one, its space chosen again, and the statement once more.
        if let Some(live) = &mut self.live {
            let (id, utc_offset_seconds) = log_in(&mut live.connection, &self.options).await?;
            live.id = id;
            live.utc_offset_seconds = utc_offset_seconds;
            choose_space(live, self.space.as_ref(), &self.options).await?;
        }
        refuse(self.send(statement, parameters).await?)
    }

    /// Runs a statement that changes nothing: again on the next address when the connection failed.
    pub(crate) async fn read(&mut self, statement: &str) -> Result<Reply, ClientError> {
        match self.execute(statement, &Properties::new()).await {
            Err(ClientError::Broken { .. }) => self.execute(statement, &Properties::new()).await,
            outcome => outcome,
        }
    }

    /// The server's zone: how it reads a moment that is given as text.
    pub(crate) fn utc_offset_seconds(&self) -> i32 {
        self.live.as_ref().map_or(0, |live| live.utc_offset_seconds)
    }

    /// Uses this space from now on.
    pub(crate) async fn choose(&mut self, space: &Name) -> Result<(), ClientError> {
        self.ensure().await?;
        self.execute(&ngql::use_space(space), &Properties::new()).await?;
        self.space = Some(space.clone());
        Ok(())
    }

    async fn send(&mut self, statement: &str, parameters: &Properties) -> Result<Reply, ClientError> {
        let Some(live) = &mut self.live else {
            return Err(ClientError::Unreachable("not connected".to_owned()));
        };
        let session = live.id;
        let call = if parameters.is_empty() {
            Call::Execute { session, statement }
        } else {
            Call::ExecuteWithParameter { session, statement, parameters }
        };
        live.connection.call(call, &self.options).await
    }
}

async fn log_in(connection: &mut Connection, options: &ClientOptions) -> Result<(i64, i32), ClientError> {
    let call = Call::Authenticate { user: &options.user, password: &options.password.0 };
    let reply = connection.call(call, options).await?;
    if reply.code == BAD_LOGIN {
        let (address, user) = (connection.address().to_owned(), options.user.clone());
        return Err(ClientError::Login { address, user, message: reply.message });
    }
    let reply = refuse(reply)?;
    let Some(session) = reply.session else {
        let problem = "the login was granted without a session".to_owned();
        return Err(ClientError::Broken { address: connection.address().to_owned(), problem });
    };
    Ok((session, reply.utc_offset_seconds))
}

async fn choose_space(live: &mut Live, space: Option<&Name>, options: &ClientOptions) -> Result<(), ClientError> {
    let Some(space) = space else { return Ok(()) };
    let statement = ngql::use_space(space);
    let reply = live.connection.call(Call::Execute { session: live.id, statement: &statement }, options).await?;
    refuse(reply).map(|_| ())
}

fn refuse(reply: Reply) -> Result<Reply, ClientError> {
    if reply.code == 0 { Ok(reply) } else { Err(ClientError::Server { code: reply.code, message: reply.message }) }
}
