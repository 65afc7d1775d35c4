//! A frame-aware proxy before the real server, in which a test decides what becomes of each call.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::super::compact::{Writer, kind};
use super::super::frame;

/// What becomes of a call.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It goes through.
    Pass,
    /// The proxy answers with this code and message; the server never sees it.
    Answer(i32, String),
    /// The connection is cut before the server sees it.
    Cut,
    /// The server does it, and the connection is cut before the answer.
    CutAfter,
    /// The server does it; the answer comes only before that to a later call of the same connection.
    Withhold,
    /// The answer of the call before comes once more, before this one's.
    RepeatLast,
}

type Rule = Box<dyn FnMut(&str) -> Fate + Send>;

/// The proxy; it ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: String,
    accepting: JoinHandle<()>,
    rule: Arc<Mutex<Rule>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// In front of the server at `upstream`. `rule` is asked for each call: it sees the message as text.
    pub(crate) async fn start(upstream: &str, rule: impl FnMut(&str) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(rule)));
        let (upstream, shared) = (upstream.to_owned(), Arc::clone(&rule));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (upstream, rule) = (upstream.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    let server = TcpStream::connect(&upstream).await.unwrap();
                    // How a conversation ends is the test's business.
                    drop(converse(client, server, &rule).await);
                });
            }
        });
        Self { address, accepting, rule }
    }

    /// Another rule from now on.
    pub(crate) fn rule(&self, rule: impl FnMut(&str) -> Fate + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }
}

async fn converse(mut client: TcpStream, mut server: TcpStream, rule: &Mutex<Rule>) -> std::io::Result<()> {
    let mut last = Vec::new();
    let mut withheld = Vec::new();
    loop {
        let call = read_frame(&mut client).await?;
        client.write_all(&std::mem::take(&mut withheld)).await?;
        let text = String::from_utf8_lossy(&call).into_owned();
        let answered = !text.contains("signout");
        let fate = (*rule.lock().unwrap())(&text);
        match fate {
            Fate::Cut => return Ok(()),
            Fate::Answer(code, message) => {
                client.write_all(&answer(&call, code, &message)).await?;
                continue;
            }
            Fate::RepeatLast => client.write_all(&last).await?,
            Fate::Pass | Fate::CutAfter | Fate::Withhold => {}
        }
        server.write_all(&call).await?;
        if answered {
            last = read_frame(&mut server).await?;
            match fate {
                Fate::CutAfter => return Ok(()),
                Fate::Withhold => withheld.clone_from(&last),
                _ => client.write_all(&last).await?,
            }
        }
    }
}

async fn read_frame(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

/// An `ExecutionResponse` to this call.
fn answer(call: &[u8], code: i32, message: &str) -> Vec<u8> {
    let sequence = u32::from_be_bytes(call[8..12].try_into().unwrap());
    let mut bytes = Vec::new();
    frame::begin(sequence, &mut bytes);
    bytes.extend_from_slice(&[0x82, 0x42]);
    let mut writer = Writer::new(&mut bytes);
    writer.varint(sequence.into());
    writer.bytes(b"execute");
    writer.body(|writer| {
        writer.field(0, kind::STRUCT);
        writer.body(|writer| {
            writer.field(1, kind::I32);
            writer.zigzag(code.into());
            writer.long_field(2, 0);
            writer.binary_field(5, message.as_bytes());
        });
    });
    frame::end(&mut bytes).unwrap();
    bytes
}
