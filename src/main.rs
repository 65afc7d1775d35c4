//! The `tidemark` binary: arguments, configuration, wiring, exit statuses. The only place that names concrete adapters.

mod arguments;
mod commands;
mod configuration;
mod copy;
mod exit;
mod heaps;
mod http;
mod instance;
mod locks;
mod logging;
mod maintenance;
mod meter;
mod missing_log;
mod quiet;
mod sample;
mod scan;
mod session;
mod signals;
mod stages;
mod stores;
mod suggestion;
mod view;
mod work;
mod workplace;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use arguments::{Arguments, Command};
use exit::Exit;
use view::View;

/// How long the process waits for blocking work at its end: what is left is a read or a write that is repeated anyway.
const LINGER_MAX: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.command.runs_stages() {
        heaps::keep_few();
    }
    match run(&arguments) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("tidemark: {error:#}");
            exit::status_of(&error)
        }
    }
}

/// Threads for what blocks (reading the log, folding, parsing). Each costs an arena of the allocator that never shrinks much, some
/// 5 MB under load; with fewer than the stages have at work at once they would wait for each other.
const BLOCKING_THREADS_MAX: usize = 8;

fn run(arguments: &Arguments) -> Result<Exit> {
    let view = View::default();
    logging::start(arguments.common.log.as_deref(), !arguments.command.is_told_by_the_log(), &view)?;
    // The embedder over HTTP needs it; without one installed TLS would fail at its first use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let exit = runtime.block_on(dispatch(arguments, &view));
    runtime.shutdown_timeout(LINGER_MAX);
    exit
}

async fn dispatch(arguments: &Arguments, view: &View) -> Result<Exit> {
    let common = &arguments.common;
    match &arguments.command {
        Command::Up(command) => commands::up::up(common, command, view).await,
        Command::Run(command) => commands::up::run(common, command, view).await,
        Command::Import(command) => commands::import::run(common, command, view).await,
        Command::Backup { dir } => commands::backup::backup(common, dir).await,
        Command::Restore { dir } => commands::backup::restore(common, dir).await,
        Command::Check(command) => commands::check::run(common, command).await,
        Command::Init(command) => commands::init::run(common, command, view).await,
        Command::Replay(command) => commands::replay::run(common, command, view).await,
        Command::Log(arguments::LogCommand::Copy(command)) => commands::log_copy::run(common, command, view).await,
        Command::State(command) => commands::state::run(common, command).await,
        Command::Tail(command) => commands::tail::run(common, command).await,
        Command::Search(command) => commands::search::run(common, command).await,
        Command::DeadLetters(command) => commands::dead_letters::run(common, command).await,
        Command::Schema(command) => commands::schema::run(common, command),
        Command::Config(command) => commands::config::run(common, command),
    }
}
