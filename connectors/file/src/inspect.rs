//! The first pass over a file: sha-256, encoding, structure, every record's grammar, and the envelope wherever it stands.
//!
//! Publishes nothing, so that a broken file leaves no trace. Done in bounded pieces. Holds one record in memory.

use std::fs::File;

use jiff::tz::TimeZone;
use serde::de::IgnoredAny;

use crate::envelope::Envelope;
use crate::forms::notes::Notes;
use crate::splitter::{Event, Outline, SplitError, Splitter};

/// The pass under way.
#[derive(Debug)]
pub(crate) struct Inspection {
    splitter: Splitter<File>,
    zone: TimeZone,
    envelope: Envelope,
    notes: Notes,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) sha256: [u8; 32],
    pub(crate) size: u64,
    pub(crate) records: u64,
    pub(crate) outline: Outline,
    pub(crate) envelope: Envelope,
    /// Remarks about the envelope.
    pub(crate) notes: Notes,
}

/// Why the file cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// It may still be growing.
    #[error(transparent)]
    Broken(#[from] SplitError),
    /// It is whole, but its envelope is not.
    #[error("{0}")]
    Envelope(String),
}

impl Inspection {
    /// Of a file of about so many bytes.
    pub(crate) fn new(file: File, size: u64, zone: TimeZone) -> Self {
        Self { splitter: Splitter::with_size(file, size), zone, envelope: Envelope::default(), notes: Notes::default() }
    }

    /// Goes on for about so many bytes; `None` = there is more.
    pub(crate) fn advance(&mut self, bytes_max: u64) -> Result<Option<Inspected>, InspectError> {
        let until = self.splitter.offset().saturating_add(bytes_max);
        while self.splitter.offset() < until {
            let at = match self.splitter.next_event()? {
                Event::Envelope { name, value } => {
                    let taken = self.envelope.take(&name, value, &self.zone, &mut self.notes);
                    taken.map_err(InspectError::Envelope)?;
                    continue;
                }
                Event::Record { offset, bytes, .. } => {
                    serde_json::from_slice::<IgnoredAny>(bytes).err().map(|error| (offset, error))
                }
                Event::TooLarge { .. } => None,
                Event::End => return Ok(Some(self.done())),
            };
            if let Some((offset, error)) = at {
                return Err(self.splitter.inside(offset, &error).into());
            }
        }
        Ok(None)
    }

    /// Bytes done.
    pub(crate) fn offset(&self) -> u64 {
        self.splitter.offset()
    }

    fn done(&mut self) -> Inspected {
        let (sha256, size) = self.splitter.digest();
        Inspected {
            sha256,
            size,
            records: self.splitter.records(),
            outline: self.splitter.outline(),
            envelope: std::mem::take(&mut self.envelope),
            notes: std::mem::take(&mut self.notes),
        }
    }
}

/// Operation and time stamp of a file, for the order in which files are read: looks no further than it must.
pub(crate) fn peek(file: File, size: u64, zone: &TimeZone) -> Envelope {
    let mut splitter = Splitter::with_size(file, size);
    let mut envelope = Envelope::default();
    let mut notes = Notes::default();
    while envelope.operation.is_none() || envelope.timestamp.is_none() {
        match splitter.next_event() {
            Ok(Event::Envelope { name, value }) => {
                // What is wrong with it is said when the file's turn comes.
                let _ = envelope.take(&name, value, zone, &mut notes);
            }
            // In a bare array there is nothing to be found.
            Ok(Event::Record { .. } | Event::TooLarge { .. }) => {
                if splitter.outline() != Outline::Envelope {
                    break;
                }
            }
            Ok(Event::End) | Err(_) => break,
        }
    }
    envelope
}
