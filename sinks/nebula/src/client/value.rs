//! Values: what a row of a reply holds and what a parameter carries.
//!
//! Kinds that a sink never asks for (paths, data sets, places) are passed over and shown as [`Value::Other`]. Texts are bytes on
//! the wire and are not checked for UTF-8 before somebody wants them as text.

use super::ProtocolError;
use super::compact::{Reader, Writer, kind};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing at all (a union with no member).
    Empty,
    /// One of the kinds of null, by number; 0 is the ordinary one.
    Null(i32),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(Vec<u8>),
    /// A day.
    Date(Date),
    /// A time of day.
    Time(Time),
    /// A moment, UTC.
    DateTime(Date, Time),
    /// A list or a set.
    List(Vec<Value>),
    /// A map, in the order of the wire.
    Map(Properties),
    /// A vertex: id, and its tags with their properties.
    Vertex(Box<Value>, Vec<(Vec<u8>, Properties)>),
    /// An edge.
    Edge(Box<Edge>),
    /// Anything else, passed over.
    Other,
}

/// Names and values.
pub(crate) type Properties = Vec<(Vec<u8>, Value)>;

/// A day of the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Date {
    pub(crate) year: i16,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    pub(crate) micros: i32,
}

/// An edge.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edge {
    pub(crate) source: Value,
    pub(crate) target: Value,
    pub(crate) name: Vec<u8>,
    pub(crate) rank: i64,
    pub(crate) properties: Properties,
}

/// Numbers of the members of the union.
mod member {
    pub(super) const NULL: i16 = 1;
    pub(super) const BOOL: i16 = 2;
    pub(super) const INT: i16 = 3;
    pub(super) const FLOAT: i16 = 4;
    pub(super) const TEXT: i16 = 5;
    pub(super) const DATE: i16 = 6;
    pub(super) const TIME: i16 = 7;
    pub(super) const DATE_TIME: i16 = 8;
    pub(super) const VERTEX: i16 = 9;
    pub(super) const EDGE: i16 = 10;
    pub(super) const LIST: i16 = 12;
    pub(super) const MAP: i16 = 13;
    pub(super) const SET: i16 = 14;
}

impl Value {
    /// A text.
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    /// A whole number, if it is one.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A text in UTF-8, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Writes the union's body, stop byte included.
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.body(|writer| match self {
            Self::Empty | Self::Other => {}
            Self::Null(which) => {
                writer.field(member::NULL, kind::I32);
                writer.zigzag(i64::from(*which));
            }
            Self::Bool(value) => writer.field(member::BOOL, if *value { kind::TRUE } else { kind::FALSE }),
            Self::Int(value) => writer.long_field(member::INT, *value),
            Self::Float(value) => {
                writer.field(member::FLOAT, kind::DOUBLE);
                writer.out.extend_from_slice(&value.to_be_bytes());
            }
            Self::Text(bytes) => writer.binary_field(member::TEXT, bytes),
            Self::Date(date) => writer.struct_field(member::DATE, |writer| write_date(*date, writer)),
            Self::Time(time) => writer.struct_field(member::TIME, |writer| write_time(*time, 1, writer)),
            Self::DateTime(date, time) => writer.struct_field(member::DATE_TIME, |writer| {
                write_date(*date, writer);
                write_time(*time, 4, writer);
            }),
            Self::List(values) => writer.struct_field(member::LIST, |writer| {
                writer.field(1, kind::LIST);
                writer.items(kind::STRUCT, values.len());
                values.iter().for_each(|value| value.write(writer));
            }),
            Self::Map(entries) => writer.struct_field(member::MAP, |writer| {
                writer.field(1, kind::MAP);
                write_properties(entries, writer);
            }),
            Self::Vertex(id, tags) => writer.struct_field(member::VERTEX, |writer| {
                writer.field(1, kind::STRUCT);
                id.write(writer);
                writer.field(2, kind::LIST);
                writer.items(kind::STRUCT, tags.len());
                for (name, properties) in tags {
                    writer.body(|writer| {
                        writer.binary_field(1, name);
                        writer.field(2, kind::MAP);
                        write_properties(properties, writer);
                    });
                }
            }),
            Self::Edge(edge) => writer.struct_field(member::EDGE, |writer| {
                writer.field(1, kind::STRUCT);
                edge.source.write(writer);
                writer.field(2, kind::STRUCT);
                edge.target.write(writer);
                writer.field(3, kind::I32);
                writer.zigzag(1);
                writer.binary_field(4, &edge.name);
                writer.long_field(5, edge.rank);
                writer.field(6, kind::MAP);
                write_properties(&edge.properties, writer);
            }),
        });
    }

    /// Reads a union's body.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let mut value = Self::Empty;
        reader.fields(|reader, id, of| {
            value = match (id, of) {
                (member::NULL, kind::I32) => Self::Null(reader.int()?),
                (member::BOOL, kind::TRUE) => Self::Bool(true),
                (member::BOOL, kind::FALSE) => Self::Bool(false),
                (member::INT, kind::I64) => Self::Int(reader.zigzag()?),
                (member::FLOAT, kind::DOUBLE) => Self::Float(reader.double()?),
                (member::TEXT, kind::BINARY) => Self::Text(reader.bytes()?.to_vec()),
                (member::DATE, kind::STRUCT) => Self::Date(read_date_time(reader)?.0),
                (member::TIME, kind::STRUCT) => Self::Time(read_time(reader)?),
                (member::DATE_TIME, kind::STRUCT) => {
                    let (date, time) = read_date_time(reader)?;
                    Self::DateTime(date, time)
                }
                (member::VERTEX, kind::STRUCT) => read_vertex(reader)?,
                (member::EDGE, kind::STRUCT) => read_edge(reader)?,
                (member::LIST | member::SET, kind::STRUCT) => Self::List(read_list(reader)?),
                (member::MAP, kind::STRUCT) => read_map(reader)?,
                (_, other) => {
                    reader.skip(other)?;
                    Self::Other
                }
            };
            Ok(())
        })?;
        Ok(value)
    }
}

fn write_date(date: Date, writer: &mut Writer<'_>) {
    writer.field(1, kind::I16);
    writer.zigzag(date.year.into());
    writer.byte_field(2, date.month);
    writer.byte_field(3, date.day);
}

fn write_time(time: Time, first: i16, writer: &mut Writer<'_>) {
    writer.byte_field(first, time.hour);
    writer.byte_field(first + 1, time.minute);
    writer.byte_field(first + 2, time.second);
    writer.field(first + 3, kind::I32);
    writer.zigzag(time.micros.into());
}

/// Names and values as a map.
pub(super) fn write_properties(entries: &Properties, writer: &mut Writer<'_>) {
    writer.entries(kind::BINARY, kind::STRUCT, entries.len());
    for (name, value) in entries {
        writer.bytes(name);
        value.write(writer);
    }
}

/// A day, and a time of day where one follows.
fn read_date_time(reader: &mut Reader<'_>) -> Result<(Date, Time), ProtocolError> {
    let (mut date, mut time) = (Date::default(), Time::default());
    reader.fields(|reader, id, of| {
        match (id, of) {
            (1, kind::I16) => date.year = i16::try_from(reader.zigzag()?).unwrap_or_default(),
            (2, kind::BYTE) => date.month = reader.byte()?,
            (3, kind::BYTE) => date.day = reader.byte()?,
            (4, kind::BYTE) => time.hour = reader.byte()?,
            (5, kind::BYTE) => time.minute = reader.byte()?,
            (6, kind::BYTE) => time.second = reader.byte()?,
            (7, kind::I32) => time.micros = reader.int()?,
            (_, other) => reader.skip(other)?,
        }
        Ok(())
    })?;
    Ok((date, time))
}

fn read_time(reader: &mut Reader<'_>) -> Result<Time, ProtocolError> {
    let mut time = Time::default();
    reader.fields(|reader, id, of| {
        match (id, of) {
            (1, kind::BYTE) => time.hour = reader.byte()?,
            (2, kind::BYTE) => time.minute = reader.byte()?,
            (3, kind::BYTE) => time.second = reader.byte()?,
            (4, kind::I32) => time.micros = reader.int()?,
            (_, other) => reader.skip(other)?,
        }
        Ok(())
    })?;
    Ok(time)
}

/// A list of structs.
pub(super) fn read_structs<T>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, ProtocolError>,
) -> Result<Vec<T>, ProtocolError> {
    let (of, count) = reader.items()?;
    if of != kind::STRUCT && count > 0 {
        return Err(ProtocolError::new("a list holds something other than structs"));
    }
    // Grows as items arrive: a count alone makes nobody set memory aside.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(read(reader)?);
    }
    Ok(items)
}

fn read_list(reader: &mut Reader<'_>) -> Result<Vec<Value>, ProtocolError> {
    let mut values = Vec::new();
    reader.fields(|reader, id, of| match (id, of) {
        (1, kind::LIST | kind::SET) => read_structs(reader, Value::read).map(|read| values = read),
        (_, other) => reader.skip(other),
    })?;
    Ok(values)
}

fn read_map(reader: &mut Reader<'_>) -> Result<Value, ProtocolError> {
    let mut entries = Properties::new();
    reader.fields(|reader, id, of| match (id, of) {
        (1, kind::MAP) => read_properties(reader).map(|read| entries = read),
        (_, other) => reader.skip(other),
    })?;
    Ok(Value::Map(entries))
}

fn read_properties(reader: &mut Reader<'_>) -> Result<Properties, ProtocolError> {
    let (key, value, count) = reader.entries()?;
    if count > 0 && (key, value) != (kind::BINARY, kind::STRUCT) {
        return Err(ProtocolError::new("a map holds something other than texts and values"));
    }
    let mut entries = Properties::new();
    for _ in 0..count {
        entries.push((reader.bytes()?.to_vec(), Value::read(reader)?));
    }
    Ok(entries)
}

fn read_vertex(reader: &mut Reader<'_>) -> Result<Value, ProtocolError> {
    let mut vid = Value::Empty;
    let mut tags = Vec::new();
    reader.fields(|reader, id, of| match (id, of) {
        (1, kind::STRUCT) => Value::read(reader).map(|read| vid = read),
        (2, kind::LIST) => read_structs(reader, read_tag).map(|read| tags = read),
        (_, other) => reader.skip(other),
    })?;
    Ok(Value::Vertex(Box::new(vid), tags))
}

fn read_tag(reader: &mut Reader<'_>) -> Result<(Vec<u8>, Properties), ProtocolError> {
    let mut tag = (Vec::new(), Properties::new());
    reader.fields(|reader, id, of| match (id, of) {
        (1, kind::BINARY) => reader.bytes().map(|read| tag.0 = read.to_vec()),
        (2, kind::MAP) => read_properties(reader).map(|read| tag.1 = read),
        (_, other) => reader.skip(other),
    })?;
    Ok(tag)
}

fn read_edge(reader: &mut Reader<'_>) -> Result<Value, ProtocolError> {
    let mut edge = Edge { source: Value::Empty, target: Value::Empty, name: Vec::new(), rank: 0, properties: Properties::new() };
    reader.fields(|reader, id, of| match (id, of) {
        (1, kind::STRUCT) => Value::read(reader).map(|read| edge.source = read),
        (2, kind::STRUCT) => Value::read(reader).map(|read| edge.target = read),
        (4, kind::BINARY) => reader.bytes().map(|read| edge.name = read.to_vec()),
        (5, kind::I64) => reader.zigzag().map(|read| edge.rank = read),
        (6, kind::MAP) => read_properties(reader).map(|read| edge.properties = read),
        (_, other) => reader.skip(other),
    })?;
    Ok(Value::Edge(Box::new(edge)))
}
