//! The client for the HTTP interface, plain or by TLS.
//!
//! The `clickhouse` crate's own TLS takes its authorities from one place and panics where that is empty; this one trusts whom the
//! options name, and says what is missing.

use std::time::Duration;

use clickhouse::Client;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tidemark_sink_core::tls::client_config;

use crate::ClickHouseOptions;
use crate::failure::StoreError;

/// As the crate's own: a server keeps an idle connection for three seconds by default.
const IDLE: Duration = Duration::from_secs(2);
/// As the crate's own.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A client that speaks as the address says.
pub(crate) fn client(options: &ClickHouseOptions) -> Result<Client, StoreError> {
    if !options.url.starts_with("https://") {
        return Ok(Client::default());
    }
    let config = client_config(options.authorities.as_deref());
    let config = config.map_err(|problem| StoreError::fatal(format!("`sinks.analytics.tls_authorities`: {problem}")))?;
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    plain.set_keepalive(Some(KEEPALIVE));
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().wrap_connector(plain);
    Ok(Client::with_http_client(HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector)))
}
