//! Adapters by configuration: which sink keeps a role, which connector reads a source. Opens nothing.

use anyhow::Result;
use tidemark_connector_core::Connector;
use tidemark_sink_core::{Role, Sink};

use crate::session::Session;
use crate::workplace::Workplace;

/// The adapter that keeps this role.
pub(crate) fn sink(workplace: &Workplace, role: Role) -> Result<Box<dyn Sink>> {
    let path = workplace.configuration.sinks.get(&role);
    let path = path.cloned().ok_or_else(|| anyhow::anyhow!("the {} store is switched off by the configuration", role.name()))?;
    let catalog = std::sync::Arc::clone(&workplace.catalog);
    match role {
        Role::Relational => Ok(tidemark_sink_sqlite::relational(path, catalog)),
        _ => anyhow::bail!("no sink"),
    }
}

/// The file connector.
pub(crate) fn connector(session: &Session) -> Result<Box<dyn Connector>> {
    let _ = session;
    anyhow::bail!("no connector")
}
