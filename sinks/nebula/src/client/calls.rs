//! The calls of `GraphService` as messages, and their replies: identical in NebulaGraph 3.0 to 3.8.

use super::ProtocolError;
use super::compact::{Reader, Writer, kind};
use super::value::{Properties, Value, read_structs, write_properties};

const PROTOCOL: u8 = 0x82;
const VERSION: u8 = 2;
const CALL: u8 = 1;
const REPLY: u8 = 2;
const EXCEPTION: u8 = 3;

/// What a server of any 3.x takes for a client of its own kind.
const CLIENT_VERSION: &[u8] = b"3.0.0";

/// A call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call<'c> {
    /// Says which protocol generation this client speaks.
    VerifyClientVersion,
    /// Logs in.
    Authenticate {
        /// User.
        user: &'c str,
        /// Password.
        password: &'c str,
    },
    /// Gives the session back; there is no reply.
    SignOut {
        /// The session.
        session: i64,
    },
    /// Runs a statement.
    Execute {
        /// The session.
        session: i64,
        /// The statement.
        statement: &'c str,
    },
    /// Runs a statement that holds `$name`s.
    ExecuteWithParameter {
        /// The session.
        session: i64,
        /// The statement.
        statement: &'c str,
        /// Their values.
        parameters: &'c Properties,
    },
}

impl Call<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::VerifyClientVersion => "verifyClientVersion",
            Self::Authenticate { .. } => "authenticate",
            Self::SignOut { .. } => "signout",
            Self::Execute { .. } => "execute",
            Self::ExecuteWithParameter { .. } => "executeWithParameter",
        }
    }

    /// Whether the server answers.
    pub(super) fn is_answered(self) -> bool {
        !matches!(self, Self::SignOut { .. })
    }

    /// Writes the message. A sign-out goes as an ordinary call, as the official client sends it.
    pub(super) fn write(self, sequence: u32, out: &mut Vec<u8>) {
        out.push(PROTOCOL);
        out.push(VERSION | (CALL << 5));
        let mut writer = Writer::new(out);
        writer.varint(sequence.into());
        writer.bytes(self.name().as_bytes());
        writer.body(|writer| match self {
            Self::VerifyClientVersion => {
                writer.struct_field(1, |writer| writer.binary_field(1, CLIENT_VERSION));
            }
            Self::Authenticate { user, password } => {
                writer.binary_field(1, user.as_bytes());
                writer.binary_field(2, password.as_bytes());
            }
            Self::SignOut { session } => writer.long_field(1, session),
            Self::Execute { session, statement } => {
                writer.long_field(1, session);
                writer.binary_field(2, statement.as_bytes());
            }
            Self::ExecuteWithParameter { session, statement, parameters } => {
                writer.long_field(1, session);
                writer.binary_field(2, statement.as_bytes());
                writer.field(3, kind::MAP);
                write_properties(parameters, writer);
            }
        });
    }
}

/// What a server answered, whatever the call: each fills in what it has.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reply {
    /// 0, or a negative number.
    pub(crate) code: i32,
    /// What went wrong.
    pub(crate) message: String,
    /// Of a login.
    pub(crate) session: Option<i64>,
    /// Of a login: the server's zone, in seconds east.
    pub(crate) utc_offset_seconds: i32,
    /// Names of the columns.
    pub(crate) columns: Vec<String>,
    /// Rows.
    pub(crate) rows: Vec<Vec<Value>>,
}

/// Why a message is no usable reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplyError {
    #[error("the reply belongs to another call ({found} instead of {expected})")]
    OutOfSequence { expected: u32, found: u64 },
    #[error("the server could not handle the call: {0}")]
    Exception(String),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// Reads the reply to a call.
pub(super) fn read(call: Call<'_>, sequence: u32, message: &[u8]) -> Result<Reply, ReplyError> {
    let mut reader = Reader::new(message);
    let (protocol, head) = (reader.byte()?, reader.byte()?);
    if protocol != PROTOCOL || head & 0x1F != VERSION {
        return Err(ProtocolError::new("the reply is not of the compact protocol").into());
    }
    let found = reader.varint()?;
    if found != u64::from(sequence) {
        return Err(ReplyError::OutOfSequence { expected: sequence, found });
    }
    reader.bytes()?;
    match head >> 5 {
        REPLY => {}
        EXCEPTION => return Err(ReplyError::Exception(read_exception(&mut reader)?)),
        _ => return Err(ProtocolError::new("the message is no reply").into()),
    }
    let mut reply = None;
    reader.fields(|reader, id, of| match (id, of) {
        (0, kind::STRUCT) => read_success(call, reader).map(|read| reply = Some(read)),
        (_, other) => reader.skip(other),
    })?;
    Ok(reply.ok_or(ProtocolError::new("the reply is empty"))?)
}

fn read_exception(reader: &mut Reader<'_>) -> Result<String, ProtocolError> {
    let mut message = String::new();
    reader.fields(|reader, id, of| match (id, of) {
        (1, kind::BINARY) => reader.bytes().map(|read| message = lossy(read)),
        (_, other) => reader.skip(other),
    })?;
    Ok(message)
}

fn read_success(call: Call<'_>, reader: &mut Reader<'_>) -> Result<Reply, ProtocolError> {
    let mut reply = Reply::default();
    reader.fields(|reader, id, of| {
        match (call, id, of) {
            (_, 1, kind::I32) => reply.code = reader.int()?,
            (Call::VerifyClientVersion | Call::Authenticate { .. }, 2, kind::BINARY)
            | (Call::Execute { .. } | Call::ExecuteWithParameter { .. }, 5, kind::BINARY) => {
                reply.message = lossy(reader.bytes()?);
            }
            (Call::Authenticate { .. }, 3, kind::I64) => reply.session = Some(reader.zigzag()?),
            (Call::Authenticate { .. }, 4, kind::I32) => reply.utc_offset_seconds = reader.int()?,
            (Call::Execute { .. } | Call::ExecuteWithParameter { .. }, 3, kind::STRUCT) => read_table(reader, &mut reply)?,
            (_, _, other) => reader.skip(other)?,
        }
        Ok(())
    })?;
    Ok(reply)
}

fn read_table(reader: &mut Reader<'_>, reply: &mut Reply) -> Result<(), ProtocolError> {
    reader.fields(|reader, id, of| match (id, of) {
        (1, kind::LIST) => {
            let (of, count) = reader.items()?;
            if of != kind::BINARY && count > 0 {
                return Err(ProtocolError::new("a column's name is no text"));
            }
            for _ in 0..count {
                reply.columns.push(lossy(reader.bytes()?));
            }
            Ok(())
        }
        (2, kind::LIST) => read_structs(reader, read_row).map(|rows| reply.rows = rows),
        (_, other) => reader.skip(other),
    })
}

fn read_row(reader: &mut Reader<'_>) -> Result<Vec<Value>, ProtocolError> {
    let mut values = Vec::new();
    reader.fields(|reader, id, of| match (id, of) {
        (1, kind::LIST) => read_structs(reader, Value::read).map(|read| values = read),
        (_, other) => reader.skip(other),
    })?;
    Ok(values)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
