//! The `tidemark` binary: arguments, configuration, wiring, exit statuses. The only place that names concrete adapters.

mod arguments;
mod commands;
mod configuration;
mod exit;
mod http;
mod locks;
mod logging;
mod view;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("tidemark: {error:#}");
            exit::status_of(&error)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<exit::Exit> {
    let view = view::View::default();
    let quiet = !matches!(arguments.command, Command::Up(_) | Command::Run(_) | Command::Import(_));
    logging::start(arguments.common.log.as_deref(), quiet, &view)?;
    match &arguments.command {
        Command::Config(command) => commands::config::run(&arguments.common, command),
        _ => anyhow::bail!("not wired"),
    }
}
