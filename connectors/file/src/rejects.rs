//! The rejected records of a file as an envelope that can be dropped again: their original bytes, streamed by place.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use crate::envelope::Envelope;
use crate::splitter::{Event, SplitError, Splitter};

/// Writes the records with these indexes (ascending) of `source` to `target`.
pub(crate) fn write(mut source: File, indexes: impl Iterator<Item = u64>, envelope: &Envelope, target: File) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(64 * 1024, target);
    start(envelope, &mut out)?;
    let ranges = source.try_clone()?;
    source.seek(SeekFrom::Start(0))?;
    let mut splitter = Splitter::new(source);
    let mut wanted = indexes.peekable();
    let mut first = true;
    while let Some(index) = wanted.peek().copied() {
        let event = splitter.next_event().map_err(|error| match error {
            SplitError::Read(error) => error,
            other => io::Error::other(other.to_string()),
        })?;
        match event {
            Event::Record { index: at, bytes, .. } if at == index => {
                out.write_all(if first { b"\n" } else { b",\n" })?;
                out.write_all(bytes)?;
            }
            Event::TooLarge { index: at, offset, length } if at == index => {
                out.write_all(if first { b"\n" } else { b",\n" })?;
                copy_range(&ranges, offset, length, &mut out)?;
            }
            Event::End => return Err(io::Error::other("the file has fewer records than it had")),
            _ => continue,
        }
        first = false;
        wanted.next();
    }
    out.write_all(b"\n]}\n")?;
    out.flush()
}

fn start(envelope: &Envelope, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{")?;
    let operation = envelope.operation.as_deref().unwrap_or("INSERT");
    for (name, value) in [
        ("operation", Some(operation)),
        ("timestamp", envelope.timestamp.as_deref()),
        ("institution_code", envelope.institution.as_deref()),
    ] {
        if let Some(value) = value {
            write!(out, "\"{name}\": {},\n ", serde_json::Value::from(value))?;
        }
    }
    out.write_all(b"\"data\": [")
}

/// Copies a range, read by position: the handle's own position is the splitter's.
fn copy_range(file: &File, offset: u64, length: u64, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = offset;
    while at < offset + length {
        let size = buffer.len().min((offset + length - at) as usize);
        file.read_exact_at(&mut buffer[..size], at)?;
        out.write_all(&buffer[..size])?;
        at += size as u64;
    }
    Ok(())
}
