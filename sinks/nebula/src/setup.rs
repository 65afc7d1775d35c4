//! Options, looked at once and made into what the parts of the sink need.

use std::sync::Arc;

use tidemark_schemas::Catalog;

use crate::client::{ClientOptions, Secret, Tls};
use crate::ngql::Name;
use crate::schema::SpaceOptions;
use crate::shape::Shapes;
use crate::{NebulaOptions, Values};

/// Largest reply that is read: the out-edges of [`crate::writer::STATEMENT_ROWS`] vertices are far smaller; a larger one would be
/// a server that lost its way.
const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What holds for every call.
pub(crate) struct Setup {
    pub(crate) client: Arc<ClientOptions>,
    pub(crate) space: Name,
    pub(crate) space_options: SpaceOptions,
    pub(crate) sessions: usize,
    pub(crate) values: Values,
    pub(crate) shapes: Shapes,
}

impl Setup {
    /// The error says what to correct.
    pub(crate) fn new(options: NebulaOptions, catalog: &Catalog) -> Result<Self, String> {
        let Some(space) = Name::try_new(&options.space) else {
            return Err(format!("`sinks.graph.space` is `{}`; use letters, digits and `_`, not a digit first", options.space));
        };
        if options.addresses.is_empty() {
            return Err("`sinks.graph.addresses` is empty; name at least one `host:port` of graphd".to_owned());
        }
        let tls = match &options.tls {
            Some(tls) => Some(Tls::new(tls.authorities.as_deref()).map_err(|problem| format!("`sinks.graph.tls`: {problem}"))?),
            None => None,
        };
        let client = ClientOptions {
            addresses: options.addresses,
            user: options.user,
            password: Secret(options.password),
            tls,
            connect_timeout: options.connect_timeout,
            request_timeout: options.request_timeout,
            reply_bytes_max: REPLY_BYTES_MAX,
        };
        Ok(Self {
            client: Arc::new(client),
            space,
            space_options: SpaceOptions { partitions: options.partitions, replicas: options.replicas },
            sessions: options.sessions,
            values: options.values,
            shapes: Shapes::of(catalog)?,
        })
    }

    /// The client's options with one of its addresses only.
    pub(crate) fn alone(&self, number: usize) -> Arc<ClientOptions> {
        let ClientOptions { addresses, user, password, tls, connect_timeout, request_timeout, reply_bytes_max } = &*self.client;
        Arc::new(ClientOptions {
            addresses: vec![addresses[number].clone()],
            user: user.clone(),
            password: Secret(password.0.clone()),
            tls: tls.clone(),
            connect_timeout: *connect_timeout,
            request_timeout: *request_timeout,
            reply_bytes_max: *reply_bytes_max,
        })
    }

    /// `NebulaGraph at host:port, space tidemark`.
    pub(crate) fn place(&self) -> String {
        format!("NebulaGraph at {}, space {}", self.client.addresses.join(" and "), self.space.as_str())
    }
}
