//! Logs: for a person where a person reads (a terminal), one JSON object a line elsewhere. Always on standard error, so that what
//! a command prints stays clean.

use std::io::IsTerminal;

use anyhow::Result;
use tracing_subscriber::EnvFilter;

use crate::exit::UsageError;
use crate::view::View;

/// What is logged unless told otherwise.
const DEFAULT_FILTER: &str = "info,notify=warn";

/// Environment variable of the filter.
const VARIABLE: &str = "TIDEMARK_LOG";

/// Starts logging. `filter` = `--log`; `quiet` = a command that only looks, where warnings are enough.
pub(crate) fn start(filter: Option<&str>, quiet: bool, view: &View) -> Result<()> {
    let fallback = if quiet { "warn" } else { DEFAULT_FILTER };
    let written = filter.map(str::to_owned).or_else(|| std::env::var(VARIABLE).ok());
    let text = written.as_deref().unwrap_or(fallback);
    let filter = EnvFilter::try_new(text)
        .map_err(|error| UsageError(format!("`{text}` is no log filter ({error}); write `info` or `tidemark=debug,warn`")))?;
    let view = view.clone();
    // What cannot be written would be complained of on standard error, which is what cannot be written, and end the process.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_writer(move || view.line_writer());
    if std::io::stderr().is_terminal() {
        builder.with_target(false).compact().init();
    } else {
        builder.json().flatten_event(true).init();
    }
    Ok(())
}
