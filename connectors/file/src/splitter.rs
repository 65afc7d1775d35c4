//! Finds the records of a file while it streams by: the elements of a top-level array, or of `data` in an envelope object.
//!
//! Guarantees: the same events for every way in which the reader cuts the bytes; memory is one record (at most
//! [`RECORD_BYTES_MAX`]) and one chunk, whatever the file holds (a longer record is passed over and reported with its place);
//! nothing recurses, so nesting costs nothing; the sha-256 is of exactly the bytes that were split. Relies on nothing but `Read`.
//! On failure: an error with line and column; what was yielded before it was well-formed as far as brackets go.
//! Deliberately not here: whether a record is valid JSON inside (the first pass asks `serde_json`), what it means.

mod utf8;
mod value;

use std::io::{self, Read};

use memchr::{memchr_iter, memrchr};
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use utf8::Utf8Check;
use value::ValueScan;

/// Longest record, and longest value of an envelope field. Larger ones would cost as much memory again at every hop.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Longest name of an envelope field; a longer one is no envelope of ours.
const NAME_BYTES_MAX: usize = 1024;

/// Bytes asked for at once: large enough that system calls do not count, small beside a record.
const CHUNK_BYTES: usize = 128 * 1024;

/// Fewest bytes asked for at once, for small files: a fresh page costs more than reading what a small file holds.
const CHUNK_BYTES_MIN: usize = 4 * 1024;

/// What the splitter came upon.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A field of the envelope other than `data`: its name, and its value as JSON text.
    Envelope {
        /// Name, unescaped.
        name: String,
        /// Value, valid JSON.
        value: &'b str,
    },
    /// An element of the array.
    Record {
        /// Counting from 0.
        index: u64,
        /// Place in the file.
        offset: u64,
        /// Its bytes.
        bytes: &'b [u8],
    },
    /// An element over [`RECORD_BYTES_MAX`].
    TooLarge {
        /// Counting from 0.
        index: u64,
        /// Place in the file.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// The file ended where it should.
    End,
}

/// Why a file cannot be split. The text names the place.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// Reading failed.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// Not UTF-8.
    #[error("not UTF-8 at line {line}, column {column}; save the file as UTF-8")]
    NotUtf8 {
        /// From 1.
        line: u64,
        /// From 1, in bytes.
        column: u64,
    },
    /// Not JSON of one of the two shapes.
    #[error("{problem} at line {line}, column {column}")]
    Malformed {
        /// What is wrong.
        problem: String,
        /// From 1.
        line: u64,
        /// From 1, in bytes.
        column: u64,
    },
}

/// Whether the file is a bare array or an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outline {
    /// Nothing seen yet.
    Unknown,
    /// `[…]`.
    Array,
    /// `{…, "data": […], …}`.
    Envelope,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Start,
    NameOrEnd,
    Name,
    InName(ValueScan),
    Colon,
    FieldValue,
    InFieldValue(ValueScan),
    AfterField,
    RecordOrEnd,
    RecordStart,
    InRecord(ValueScan),
    AfterRecord,
    Tail,
}

enum Found {
    Envelope { from: usize, to: usize },
    Record { from: usize, to: usize },
    TooLarge { offset: u64, length: u64 },
    End,
}

/// The splitter over a reader.
#[derive(Debug)]
pub struct Splitter<R> {
    reader: R,
    buffer: Vec<u8>,
    /// File offset of `buffer[0]`.
    base: u64,
    /// Index in `buffer` up to which everything is understood.
    at: usize,
    /// File offset of the value that is being scanned.
    value_offset: u64,
    place: Place,
    outline: Outline,
    records: u64,
    names: Vec<String>,
    data_seen: bool,
    /// Lines before `buffer[0]`, and the file offset at which the line of `buffer[0]` starts.
    lines: u64,
    line_offset: u64,
    utf8: Utf8Check,
    hasher: Sha256,
    ended: bool,
    chunk: usize,
}

impl<R: Read> Splitter<R> {
    /// At the start of a file.
    pub fn new(reader: R) -> Self {
        Self::with_size(reader, u64::MAX)
    }

    /// The same, for a file that has about so many bytes.
    pub fn with_size(reader: R, size: u64) -> Self {
        // One more than there should be, so that the end shows in the next read.
        let chunk = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES);
        Self {
            chunk,
            reader,
            buffer: Vec::new(),
            base: 0,
            at: 0,
            value_offset: 0,
            place: Place::Start,
            outline: Outline::Unknown,
            records: 0,
            names: Vec::new(),
            data_seen: false,
            lines: 0,
            line_offset: 0,
            utf8: Utf8Check::default(),
            hasher: Sha256::new(),
            ended: false,
        }
    }

    /// The next event. After `End` or an error there is nothing more to ask for.
    pub fn next_event(&mut self) -> Result<Event<'_>, SplitError> {
        match self.advance()? {
            Found::End => Ok(Event::End),
            Found::TooLarge { offset, length } => Ok(Event::TooLarge { index: self.records - 1, offset, length }),
            Found::Record { from, to } => {
                Ok(Event::Record { index: self.records - 1, offset: self.base + from as u64, bytes: &self.buffer[from..to] })
            }
            Found::Envelope { from, to } => {
                let error = serde_json::from_slice::<IgnoredAny>(&self.buffer[from..to]).err();
                if let Some(error) = error {
                    return Err(self.inside(self.base + from as u64, &error));
                }
                let name = self.names.last().cloned().unwrap_or_default();
                let value = std::str::from_utf8(&self.buffer[from..to]).expect("every chunk was checked to be UTF-8");
                Ok(Event::Envelope { name, value })
            }
        }
    }

    /// Which of the two shapes the file has, as far as is known.
    pub fn outline(&self) -> Outline {
        self.outline
    }

    /// Whether an array of records was come upon.
    pub fn has_data(&self) -> bool {
        self.outline == Outline::Array || self.data_seen
    }

    /// Records so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes understood so far.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// sha-256 and size of what was read.
    pub fn digest(&self) -> ([u8; 32], u64) {
        (self.hasher.clone().finalize().into(), self.base + self.buffer.len() as u64)
    }

    /// The error of `serde_json` about the value at `offset`, with its place in the file.
    pub fn inside(&self, offset: u64, error: &serde_json::Error) -> SplitError {
        let (line, column) = self.locate(offset);
        let inner = error.line().max(1) as u64 - 1;
        let column = if inner == 0 { column + error.column().max(1) as u64 - 1 } else { error.column() as u64 };
        let problem = error.to_string();
        let problem = problem.split(" at line ").next().unwrap_or_default().to_owned();
        SplitError::Malformed { problem, line: line + inner, column }
    }

    fn advance(&mut self) -> Result<Found, SplitError> {
        loop {
            if self.at >= self.buffer.len() && !self.fill()? {
                return self.finish();
            }
            match self.place {
                Place::InName(scan) => self.scan_name(scan)?,
                Place::InFieldValue(scan) | Place::InRecord(scan) => {
                    if let Some(found) = self.scan_value(scan)? {
                        return Ok(found);
                    }
                }
                _ => self.step()?,
            }
        }
    }

    /// One byte outside names and values.
    fn step(&mut self) -> Result<(), SplitError> {
        let byte = self.buffer[self.at];
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
            return Ok(());
        }
        match (self.place, byte) {
            (Place::Start, 0xEF) if self.offset() == 0 => {
                while self.buffer.len() < 3 && self.fill()? {}
                if !self.buffer.starts_with(b"\xEF\xBB\xBF") {
                    return Err(self.malformed("expected `[` or `{`"));
                }
                self.at += 2;
            }
            (Place::Start, b'[') => {
                self.outline = Outline::Array;
                self.place = Place::RecordOrEnd;
            }
            (Place::Start, b'{') => {
                self.outline = Outline::Envelope;
                self.place = Place::NameOrEnd;
            }
            (Place::NameOrEnd | Place::AfterField, b'}') => self.place = Place::Tail,
            (Place::NameOrEnd | Place::Name, b'"') => {
                self.value_offset = self.offset();
                self.place = Place::InName(ValueScan::at(byte));
                return Ok(());
            }
            (Place::Colon, b':') => self.place = Place::FieldValue,
            (Place::FieldValue, _) => return self.start_field(byte),
            (Place::AfterField, b',') => self.place = Place::Name,
            (Place::RecordOrEnd | Place::AfterRecord, b']') => {
                self.place = if self.outline == Outline::Array { Place::Tail } else { Place::AfterField };
            }
            (Place::RecordOrEnd | Place::RecordStart, _) if !matches!(byte, b',' | b']' | b'}' | b':') => {
                self.value_offset = self.offset();
                self.place = Place::InRecord(ValueScan::at(byte));
                return Ok(());
            }
            (Place::AfterRecord, b',') => self.place = Place::RecordStart,
            (place, _) => return Err(self.malformed(expected(place))),
        }
        self.at += 1;
        Ok(())
    }

    fn start_field(&mut self, byte: u8) -> Result<(), SplitError> {
        if self.names.last().is_some_and(|name| name == "data") {
            if byte != b'[' {
                return Err(self.malformed("`data` must be an array of records"));
            }
            self.data_seen = true;
            self.place = Place::RecordOrEnd;
            self.at += 1;
        } else if matches!(byte, b',' | b']' | b'}' | b':') {
            return Err(self.malformed("expected a value"));
        } else {
            self.value_offset = self.offset();
            self.place = Place::InFieldValue(ValueScan::at(byte));
        }
        Ok(())
    }

    fn scan_name(&mut self, mut scan: ValueScan) -> Result<(), SplitError> {
        let Some(length) = self.advance_scan(&mut scan) else {
            self.place = Place::InName(scan);
            self.at = self.buffer.len();
            if self.offset() - self.value_offset > NAME_BYTES_MAX as u64 {
                return Err(self.malformed("the name of an envelope field is too long"));
            }
            return Ok(());
        };
        self.at += length;
        let from = (self.value_offset - self.base) as usize;
        let name: String = match serde_json::from_slice(&self.buffer[from..self.at]) {
            Ok(name) => name,
            Err(error) => return Err(self.inside(self.value_offset, &error)),
        };
        if self.names.contains(&name) {
            return Err(self.malformed(&format!("the envelope has two fields `{name}`")));
        }
        self.names.push(name);
        if self.names.len() > 100 {
            return Err(self.malformed("the envelope has more than 100 fields"));
        }
        self.place = Place::Colon;
        Ok(())
    }

    /// Looks for the end of the value. The first look starts at its first byte, later ones where the last left off.
    fn scan_value(&mut self, mut scan: ValueScan) -> Result<Option<Found>, SplitError> {
        let is_record = matches!(self.place, Place::InRecord(_));
        let end = self.advance_scan(&mut scan);
        self.at = end.map_or(self.buffer.len(), |length| self.at + length);
        let length = self.offset() - self.value_offset;
        if !is_record && length > RECORD_BYTES_MAX as u64 {
            return Err(self.malformed("a field of the envelope is longer than 1 MiB"));
        }
        if end.is_none() {
            self.place = if is_record { Place::InRecord(scan) } else { Place::InFieldValue(scan) };
            return Ok(None);
        }
        self.place = if is_record { Place::AfterRecord } else { Place::AfterField };
        self.records += u64::from(is_record);
        if length > RECORD_BYTES_MAX as u64 {
            return Ok(Some(Found::TooLarge { offset: self.value_offset, length }));
        }
        let from = (self.value_offset - self.base) as usize;
        let to = self.at;
        Ok(Some(if is_record { Found::Record { from, to } } else { Found::Envelope { from, to } }))
    }

    fn advance_scan(&self, scan: &mut ValueScan) -> Option<usize> {
        scan.advance(&self.buffer[self.at..])
    }

    /// Reads one more chunk; false at the end of the file.
    fn fill(&mut self) -> Result<bool, SplitError> {
        if self.ended {
            return Ok(false);
        }
        self.forget();
        let old = self.buffer.len();
        self.buffer.resize(old + self.chunk, 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[old..]) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SplitError::Read(error)),
            }
        };
        self.buffer.truncate(old + read);
        let judged = if read == 0 {
            self.ended = true;
            if self.utf8.is_complete() { Ok(()) } else { Err(0) }
        } else {
            self.hasher.update(&self.buffer[old..]);
            self.utf8.feed(&self.buffer[old..])
        };
        judged.map_err(|index| {
            let (line, column) = self.locate(self.base + (old + index) as u64);
            SplitError::NotUtf8 { line, column }
        })?;
        Ok(read > 0)
    }

    /// Drops what nobody will ask for again: all before the value in progress, and of one that is too large all of it.
    fn forget(&mut self) {
        let in_value = matches!(self.place, Place::InName(_) | Place::InFieldValue(_) | Place::InRecord(_));
        let kept = in_value && self.offset() - self.value_offset <= RECORD_BYTES_MAX as u64;
        let drop = if kept { (self.value_offset - self.base) as usize } else { self.at };
        if drop == 0 {
            return;
        }
        let dropped = &self.buffer[..drop];
        self.lines += memchr_iter(b'\n', dropped).count() as u64;
        if let Some(last) = memrchr(b'\n', dropped) {
            self.line_offset = self.base + last as u64 + 1;
        }
        self.buffer.drain(..drop);
        self.base += drop as u64;
        self.at -= drop;
    }

    fn finish(&self) -> Result<Found, SplitError> {
        match self.place {
            Place::Tail if self.has_data() => Ok(Found::End),
            Place::Tail => Err(self.malformed("the envelope has no `data`")),
            Place::Start if self.offset() <= 3 => Err(self.malformed("the file is empty")),
            place => Err(self.malformed(&format!("the file ends too early: {}", expected(place)))),
        }
    }

    fn malformed(&self, problem: &str) -> SplitError {
        let (line, column) = self.locate(self.offset());
        SplitError::Malformed { problem: problem.to_owned(), line, column }
    }

    /// Line and column, from 1, of a place that is still in the buffer (or just was).
    fn locate(&self, offset: u64) -> (u64, u64) {
        let until = (offset.saturating_sub(self.base) as usize).min(self.buffer.len());
        let before = &self.buffer[..until];
        let line = self.lines + memchr_iter(b'\n', before).count() as u64 + 1;
        let start = memrchr(b'\n', before).map_or(self.line_offset, |last| self.base + last as u64 + 1);
        (line, offset.saturating_sub(start) + 1)
    }
}

fn expected(place: Place) -> &'static str {
    match place {
        Place::Start => "expected `[` or `{`",
        Place::NameOrEnd => "expected a field name or `}`",
        Place::Name | Place::InName(_) => "expected a field name",
        Place::Colon => "expected `:`",
        Place::FieldValue | Place::InFieldValue(_) => "expected a value",
        Place::AfterField => "expected `,` or `}`",
        Place::RecordOrEnd => "expected a record or `]`",
        Place::RecordStart | Place::InRecord(_) => "expected a record",
        Place::AfterRecord => "expected `,` or `]`",
        Place::Tail => "expected the end of the file",
    }
}

#[cfg(test)]
mod tests;
