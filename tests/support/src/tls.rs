//! TLS before a server that speaks none: it is taken off and everything passed on as it comes.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// The front; it ends when it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    /// Where it listens, `127.0.0.1:<port>`.
    pub address: String,
    /// Its certificate, of its own making, in PEM: whoever trusts that trusts it.
    pub certificate: String,
    accepting: JoinHandle<()>,
}

impl TlsFront {
    /// Before the server at `upstream` (`host:port`).
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(upstream: &str) -> Self {
        let (acceptor, certificate) = acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let upstream = upstream.to_owned();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let (upstream, acceptor) = (upstream.clone(), acceptor.clone());
                connections.spawn(async move {
                    // How a conversation ends is the test's business: a client that does not trust us hangs up.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let Ok(mut server) = TcpStream::connect(&upstream).await else { return };
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        Self { address, certificate, accepting }
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn acceptor() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate for an address");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key that was just made");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the key is the certificate's");
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}
