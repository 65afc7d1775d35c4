//! A part of the benchmark in a process of its own, so that its memory and CPU are its own.
//!
//! It is this program again, told what to do on its command line. It says `first N` after its first batch and `last N` after its
//! last, N being the rows done so far, and then stays until its input is closed, so that it can still be looked at.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::marks::{Mark, Taken};

/// Starts this program with these arguments and measures it; `server` is the store's process, where it is ours.
pub(crate) fn measure(arguments: &[&str], server: Option<u32>) -> Result<Taken> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting a child")?;
    let lines = BufReader::new(child.stdout.take().context("it was asked for")?).lines();
    let mut marks = Vec::new();
    for line in lines {
        let line = line?;
        let Some((word, rows)) = line.split_once(' ') else { bail!("a child says `{line}`") };
        marks.push(Mark::now(rows.parse()?, child.id(), server));
        if word == "last" {
            break;
        }
    }
    drop(child.stdin.take());
    let status = child.wait()?;
    ensure!(status.success(), "{arguments:?} ended with {status}");
    let [first, last] = marks.as_slice() else { bail!("{arguments:?} was through after one batch; ask for more rows") };
    Ok(Taken::between(first, last))
}

/// What the child says.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    first_said: bool,
}

impl Progress {
    /// So many rows are done by now.
    pub(crate) fn done(&mut self, rows: u64) -> Result<()> {
        if !self.first_said && rows > 0 {
            self.first_said = true;
            say("first", rows)?;
        }
        Ok(())
    }

    /// These were all; returns when it was looked at.
    pub(crate) fn finished(self, rows: u64) -> Result<()> {
        say("last", rows)?;
        std::io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

fn say(word: &str, rows: u64) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {rows}")?;
    Ok(out.flush()?)
}
