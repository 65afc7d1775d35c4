//! `/health`, `/ready` and `/metrics` on a local port.
//!
//! `/health` answers as long as the process does. `/ready` is 200 when every stage runs and 503 otherwise, with what each stage says
//! about itself. `/metrics` is what the stages count, in Prometheus text. There is no password: the default address is local.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tidemark_pipelines::status::{StageState, StatusBoard};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::view::word_of;

/// What the answers are made of.
#[derive(Clone)]
struct Sources {
    board: StatusBoard,
    metrics: PrometheusHandle,
}

/// Takes the port.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let remedy = "another process has it; change `http.listen`, or switch it off by `http.enabled = false`";
    TcpListener::bind(address).await.with_context(|| format!("http cannot listen on {address}: {remedy}"))
}

/// Makes this process's metrics go to what `/metrics` prints. Once per process, before any stage starts.
pub(crate) fn install_metrics() -> Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().context("installing the metrics recorder")?;
    tidemark_pipelines::metrics::describe();
    Ok(handle)
}

/// How often samples that nobody has asked for are put together: between two rounds they are all in memory.
const METRICS_KEPT_UP: Duration = Duration::from_secs(5);

/// Puts samples together until shutdown, whether anybody asks for them or not.
pub(crate) async fn keep_up(metrics: PrometheusHandle, shutdown: CancellationToken) -> Result<()> {
    let mut rounds = tokio::time::interval(METRICS_KEPT_UP);
    loop {
        tokio::select! {
            _ = rounds.tick() => metrics.run_upkeep(),
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// Serves until shutdown.
pub(crate) async fn serve(
    listener: TcpListener,
    board: StatusBoard,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> Result<()> {
    let router = Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(render))
        .with_state(Sources { board, metrics });
    // Connections that are kept open do not hold up the end: they are cut with the process.
    tokio::select! {
        served = axum::serve(listener, router) => served.context("serving http"),
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn ready(State(sources): State<Sources>) -> impl IntoResponse {
    let lines = sources.board.lines();
    let ready = !lines.is_empty() && lines.values().all(|status| status.state == StageState::Running);
    let stages: serde_json::Map<String, serde_json::Value> = lines
        .into_iter()
        .map(|(stage, status)| {
            let reason = match &status.state {
                StageState::Degraded(reason) => Some(reason.as_str()),
                _ => None,
            };
            let line = json!({
                "state": word_of(&status.state), "reason": reason, "lag_records": status.lag_records, "lag_seconds": status.lag_seconds,
            });
            (stage, line)
        })
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ready": ready, "stages": stages});
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n"))
}

async fn render(State(sources): State<Sources>) -> impl IntoResponse {
    sources.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], sources.metrics.render())
}

#[cfg(test)]
mod tests;
