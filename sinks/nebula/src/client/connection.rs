//! One connection: a call, its reply, and what to do when they do not fit.

use std::pin::Pin;
use std::task::{Context, Waker};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

use super::calls::{self, Call, Reply};
use super::{ClientError, ClientOptions, frame};

/// How much of a reply is read at a time: memory grows with what has come, not with what was announced.
const CHUNK_BYTES: usize = 256 * 1024;

trait Wire: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<W: AsyncRead + AsyncWrite + Unpin + Send + Sync> Wire for W {}

/// A connection to one address. Once a call failed on the way, or was given up half-way, it is broken for good.
pub(super) struct Connection {
    wire: Box<dyn Wire>,
    address: String,
    sequence: u32,
    /// A call is under way, or was when its caller went away.
    busy: bool,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: &str, options: &ClientOptions) -> Result<Self, String> {
        let connecting = async {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            // Statements are written whole and answered one by one: waiting to fill packets only costs time.
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let Some(tls) = &options.tls else { return Ok(Box::new(stream) as Box<dyn Wire>) };
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
            let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
            let stream = tls.connector().connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        };
        let wire: Result<Box<dyn Wire>, String> =
            timeout(options.connect_timeout, connecting).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        Ok(Self { wire: wire?, address: address.to_owned(), sequence: 0, busy: false, buffer: Vec::new() })
    }

    /// Whether it may be used.
    pub(super) fn is_sound(&self) -> bool {
        !self.busy
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a call and waits for its reply (an empty one for a call that has none). After an error it is broken.
    pub(super) async fn call(&mut self, call: Call<'_>, options: &ClientOptions) -> Result<Reply, ClientError> {
        // Also when this future is dropped half-way: then a reply is still to come, which must not be taken for the next one's.
        self.busy = true;
        let outcome = match timeout(options.request_timeout, self.exchange(call, options.reply_bytes_max)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {:?}", options.request_timeout)),
        };
        match outcome {
            Ok(reply) => {
                self.busy = false;
                Ok(reply)
            }
            Err(problem) => Err(ClientError::Broken { address: self.address.clone(), problem }),
        }
    }

    async fn exchange(&mut self, call: Call<'_>, reply_bytes_max: usize) -> Result<Reply, String> {
        self.sequence = self.sequence.wrapping_add(1);
        self.write(call)?;
        self.wire.write_all(&self.buffer).await.map_err(|error| error.to_string())?;
        self.wire.flush().await.map_err(|error| error.to_string())?;
        if !call.is_answered() {
            return Ok(Reply::default());
        }
        let mut head = [0; frame::LENGTH_BYTES];
        self.wire.read_exact(&mut head).await.map_err(|error| error.to_string())?;
        let length = frame::length(head, reply_bytes_max).map_err(|error| error.to_string())?;
        self.buffer.clear();
        while self.buffer.len() < length {
            let start = self.buffer.len();
            self.buffer.resize(length.min(start + CHUNK_BYTES), 0);
            self.wire.read_exact(&mut self.buffer[start..]).await.map_err(|error| error.to_string())?;
        }
        let message = frame::payload(&self.buffer).map_err(|error| error.to_string())?;
        let reply = calls::read(call, self.sequence, message).map_err(|error| error.to_string());
        self.buffer.shrink_to(CHUNK_BYTES);
        reply
    }

    fn write(&mut self, call: Call<'_>) -> Result<(), String> {
        self.buffer.clear();
        frame::begin(self.sequence, &mut self.buffer);
        call.write(self.sequence, &mut self.buffer);
        frame::end(&mut self.buffer).map_err(|error| error.to_string())
    }

    /// Sends a sign-out if the connection takes it at once: for those who cannot wait. What does not go out now, the server
    /// forgets after its idle time.
    pub(super) fn sign_out_now(&mut self, session: i64) {
        self.sequence = self.sequence.wrapping_add(1);
        if self.busy || self.write(Call::SignOut { session }).is_err() {
            return;
        }
        self.busy = true;
        let mut context = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut self.wire).poll_write(&mut context, &self.buffer);
        let flushed = Pin::new(&mut self.wire).poll_flush(&mut context);
        tracing::trace!(?written, ?flushed, "signed out while closing");
    }
}
