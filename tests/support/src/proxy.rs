//! A proxy before a real server, in which a test decides what becomes of each call and of its answer.
//!
//! Guarantees: what it lets through is unchanged and in order. A call is cut either before the server has seen any of it that the
//! rule saw, or after the server has answered, so that "applied, and nobody knows" can be had at will.
//! Relies on: calls and answers that take turns on a connection, as those of all clients here do. It runs on threads of its own,
//! so tests with and without a runtime use it alike, and a rule may block to hold a call up.
//! On failure: whichever side ends a connection, the other side's is ended too.

use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, block_in_place};

/// How calls and answers are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Each begins with its length in four bytes, big-endian: NebulaGraph.
    Length,
    /// What comes in one piece; the rule sees each piece of a call until it decides: Postgres, HTTP.
    Pieces,
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It goes through.
    Pass,
    /// The proxy gives this answer; the server never sees the call.
    Answer(Vec<u8>),
    /// The connection is cut before the server sees it.
    Cut,
    /// The server does it, and the connection is cut before the answer.
    CutAfter,
    /// The server does it; the answer comes so much later.
    Delay(Duration),
    /// The server does it; the answer comes twice.
    Repeat,
    /// The server does it; the answer comes only before that to a later call of the same connection. For framed ones.
    Withhold,
    /// The answer to the call before comes once more, before this one's. For framed ones.
    RepeatLast,
}

/// A call, or the piece of it that came at once.
#[derive(Debug, Clone, Copy)]
pub struct Call<'c>(pub &'c [u8]);

impl Call<'_> {
    /// Whether this text is in it.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.0.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

type Rule = Box<dyn FnMut(Call<'_>) -> Fate + Send>;

/// The proxy; it ends when it is dropped.
pub struct Proxy {
    /// Where it listens, `host:port`.
    pub address: String,
    rule: Arc<Mutex<Rule>>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// In front of the server at `upstream`. `rule` is asked for each call.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(upstream: &str, framing: Framing, rule: impl FnMut(Call<'_>) -> Fate + Send + 'static) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a plain setting");
        let address = listener.local_addr().expect("it is bound").to_string();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(rule)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.spawn(accept(listener, upstream.to_owned(), framing, Arc::clone(&rule)));
        Self { address, rule, runtime: Some(runtime) }
    }

    /// Another rule from now on.
    pub fn rule(&self, rule: impl FnMut(Call<'_>) -> Fate + Send + 'static) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(rule);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waited for: a rule may be blocked by the test that ends here.
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: StdListener, upstream: String, framing: Framing, rule: Arc<Mutex<Rule>>) {
    let listener = TcpListener::from_std(listener).expect("it does not block");
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("a socket of our own");
        let (upstream, rule) = (upstream.clone(), Arc::clone(&rule));
        connections.spawn(async move {
            // Nobody there: the client's connection ends as it would at the server's own port.
            let Ok(server) = TcpStream::connect(&upstream).await else { return };
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("a plain setting");
            }
            // How a conversation ends is the test's business.
            let _ = match framing {
                Framing::Length => frames(client, server, &rule).await,
                Framing::Pieces => pieces(client, server, &rule).await,
            };
        });
    }
}

fn decide(rule: &Mutex<Rule>, call: &[u8]) -> Fate {
    block_in_place(|| (*rule.lock().unwrap_or_else(PoisonError::into_inner))(Call(call)))
}

async fn frames(mut client: TcpStream, mut server: TcpStream, rule: &Mutex<Rule>) -> std::io::Result<()> {
    let (mut last, mut withheld) = (Vec::new(), Vec::new());
    loop {
        let call = read_frame(&mut client).await?;
        client.write_all(&std::mem::take(&mut withheld)).await?;
        // Nobody answers that one.
        let answered = !Call(&call).contains("signout");
        let fate = decide(rule, &call);
        match &fate {
            Fate::Cut => return Ok(()),
            Fate::Answer(answer) => {
                client.write_all(answer).await?;
                continue;
            }
            Fate::RepeatLast => client.write_all(&last).await?,
            _ => {}
        }
        server.write_all(&call).await?;
        if !answered {
            continue;
        }
        last = read_frame(&mut server).await?;
        match fate {
            Fate::CutAfter => return Ok(()),
            Fate::Withhold => {
                withheld.clone_from(&last);
                continue;
            }
            Fate::Delay(delay) => tokio::time::sleep(delay).await,
            Fate::Repeat => client.write_all(&last).await?,
            _ => {}
        }
        client.write_all(&last).await?;
    }
}

async fn read_frame(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

async fn pieces(mut client: TcpStream, mut server: TcpStream, rule: &Mutex<Rule>) -> std::io::Result<()> {
    const PIECE_BYTES: usize = 256 << 10;
    let (mut up, mut down) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    // Of the call under way; `Pass` as long as the rule has nothing else to say.
    let mut fate = Fate::Pass;
    loop {
        tokio::select! {
            read = from_client.read(&mut up) => {
                let piece = &up[..read?];
                if piece.is_empty() {
                    return Ok(());
                }
                if matches!(fate, Fate::Pass) {
                    fate = decide(rule, piece);
                }
                match &fate {
                    Fate::Cut => return Ok(()),
                    Fate::Answer(answer) => {
                        to_client.write_all(answer).await?;
                        fate = Fate::Pass;
                    }
                    _ => to_server.write_all(piece).await?,
                }
            }
            read = from_server.read(&mut down) => {
                let piece = &down[..read?];
                match std::mem::replace(&mut fate, Fate::Pass) {
                    Fate::CutAfter => return Ok(()),
                    Fate::Delay(delay) => tokio::time::sleep(delay).await,
                    Fate::Repeat => to_client.write_all(piece).await?,
                    _ => {}
                }
                if piece.is_empty() {
                    return Ok(());
                }
                to_client.write_all(piece).await?;
            }
        }
    }
}
