//! TLS as NebulaGraph speaks it: ordinary TLS on the same port, from the first byte, no client certificate.

use std::path::Path;
use std::sync::Arc;

use tidemark_sink_core::tls::client_config;
use tokio_rustls::TlsConnector;

/// How servers are recognised.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tls")
    }
}

impl Tls {
    /// Trusts the certificates of the PEM file `authorities`, or those that the system trusts. The error names what to correct.
    pub(crate) fn new(authorities: Option<&Path>) -> Result<Self, String> {
        client_config(authorities).map(|config| Self(TlsConnector::from(Arc::new(config))))
    }

    pub(super) fn connector(&self) -> &TlsConnector {
        &self.0
    }
}
