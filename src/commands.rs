//! The commands, one file each, and what they have in common.

pub(crate) mod config;

use std::io::Write;

/// Prints a line on standard output; a reader that has gone away (`| head`) ends the command quietly.
pub(crate) fn print_line(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}
