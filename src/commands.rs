//! The commands, one file each, and what they have in common.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod dead_letters;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod log_copy;
pub(crate) mod replay;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod state;
pub(crate) mod tail;
pub(crate) mod up;

use std::io::Write;

/// Prints a line on standard output; a reader that has gone away (`| head`) ends the command quietly.
pub(crate) fn print_line(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}
