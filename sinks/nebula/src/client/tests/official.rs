//! Our bytes against those of the official client (`fixtures/record.py`), and hostile bytes.

use proptest::prelude::*;

use super::super::calls::{self, Call, Reply, ReplyError};
use super::super::compact::{Reader, Writer};
use super::super::value::{Date, Edge, Properties, Time};
use super::super::{Value, frame};

const OFFICIAL: &str = include_str!("../../../fixtures/official.txt");
const SESSION: i64 = 1_700_000_000_000_042;

fn official(name: &str) -> Vec<u8> {
    let line = OFFICIAL.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

fn request(call: Call<'_>, sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::begin(sequence, &mut bytes);
    call.write(sequence, &mut bytes);
    frame::end(&mut bytes).unwrap();
    bytes
}

/// The official frames carry sequence numbers of their own choice in the frame, ours those of the message.
fn read(call: Call<'_>, sequence: u32, bytes: &[u8]) -> Result<Reply, ReplyError> {
    let length = frame::length(bytes[..4].try_into().unwrap(), 1 << 20)?;
    assert_eq!(length, bytes.len() - 4);
    calls::read(call, sequence, frame::payload(&bytes[4..])?)
}

/// What `record.py` calls everything.
fn everything() -> Vec<Value> {
    let vertex = Value::Vertex(
        Box::new(Value::text("customer:C1")),
        vec![(b"customer".to_vec(), vec![(b"version".to_vec(), Value::Int(7))])],
    );
    let edge = Value::Edge(Box::new(Edge {
        source: Value::text("customer:C1"),
        target: Value::text("staff:S1"),
        name: b"served_by".to_vec(),
        rank: -3,
        properties: vec![(b"owner".to_vec(), Value::text("O"))],
    }));
    vec![
        Value::Empty,
        Value::Null(0),
        Value::Bool(true),
        Value::Bool(false),
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::Float(-1.5),
        Value::text("张三 \" \\ \n 😀"),
        Value::Date(Date { year: 2026, month: 1, day: 10 }),
        Value::Time(Time { hour: 23, minute: 59, second: 58, micros: 999_999 }),
        Value::DateTime(Date { year: -1, month: 12, day: 31 }, Time { hour: 1, minute: 2, second: 3, micros: 4 }),
        vertex,
        edge,
        Value::Other,
        Value::List((0..20).map(Value::Int).collect()),
        Value::Map(vec![(b"k".to_vec(), Value::text("v"))]),
        Value::List(vec![Value::Int(1)]),
        Value::Other,
        Value::Other,
    ]
}

#[test]
fn requests_are_the_official_ones_byte_for_byte() {
    let parameters: Properties = vec![(b"p0".to_vec(), Value::text("张三 \" \\ \n 😀"))];
    let none = Properties::new();
    let of = |statement| Call::Execute { session: SESSION, statement };
    let calls = [
        ("verify", 1, Call::VerifyClientVersion),
        ("authenticate", 2, Call::Authenticate { user: "root", password: "nebula" }),
        ("refused", 3, Call::Authenticate { user: "root", password: "wrong" }),
        ("execute", 4, of("YIELD 1")),
        ("error", 5, of("ERROR")),
        ("empty", 6, Call::Execute { session: -1, statement: "EMPTY" }),
        ("raise", 300, Call::Execute { session: 1, statement: "RAISE" }),
        (
            "parameter",
            7,
            Call::ExecuteWithParameter { session: SESSION, statement: "YIELD $p0, \"张\"", parameters: &parameters },
        ),
        ("none", 9, Call::ExecuteWithParameter { session: 1, statement: "EMPTY", parameters: &none }),
        ("signout", 10, Call::SignOut { session: SESSION }),
    ];
    for (name, sequence, call) in calls {
        assert_eq!(request(call, sequence), official(&format!("{name}.request")), "{name}");
    }
}

#[test]
fn parameters_of_each_kind_are_the_official_ones_byte_for_byte() {
    for (number, value) in everything().into_iter().enumerate() {
        // Those that are read and passed over, and the set, which nobody sends.
        if value == Value::Other || number == 16 {
            continue;
        }
        let parameters: Properties = vec![(b"p".to_vec(), value)];
        let call = Call::ExecuteWithParameter { session: 1, statement: "EMPTY", parameters: &parameters };
        assert_eq!(request(call, 8), official(&format!("value{number}.request")), "{number}");
    }
}

#[test]
fn official_replies_are_read() {
    let execute = Call::Execute { session: SESSION, statement: "" };
    let login = Call::Authenticate { user: "", password: "" };
    assert_eq!(read(Call::VerifyClientVersion, 1, &official("verify.reply")).unwrap(), Reply::default());
    let reply = read(login, 2, &official("authenticate.reply")).unwrap();
    assert_eq!((reply.code, reply.session, reply.utc_offset_seconds), (0, Some(SESSION), 28_800));
    let reply = read(login, 3, &official("refused.reply")).unwrap();
    assert_eq!((reply.code, reply.message.as_str(), reply.session), (-1001, "Bad username/password", None));
    let reply = read(execute, 4, &official("execute.reply")).unwrap();
    assert_eq!((reply.code, reply.columns), (0, vec!["值".to_owned()]));
    assert_eq!(reply.rows.into_iter().flatten().collect::<Vec<_>>(), everything());
    let reply = read(execute, 5, &official("error.reply")).unwrap();
    assert_eq!((reply.code, reply.message.as_str()), (-1005, "Storage Error: Not the leader of 张三"));
    assert_eq!(read(execute, 6, &official("empty.reply")).unwrap(), Reply::default());
    match read(execute, 300, &official("raise.reply")) {
        Err(ReplyError::Exception(message)) => assert!(message.contains("the handler failed"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_late_reply_is_not_taken_for_the_next_one() {
    let execute = Call::Execute { session: SESSION, statement: "" };
    match read(execute, 5, &official("execute.reply")) {
        Err(ReplyError::OutOfSequence { expected: 5, found: 4 }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_announced_length_beyond_the_bound_is_refused() {
    assert_eq!(frame::length([0, 0, 1, 0], 256).unwrap(), 256);
    assert!(frame::length([0, 0, 1, 1], 256).is_err());
    assert!(frame::length([0xFF; 4], 1 << 30).is_err());
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Empty),
        any::<i32>().prop_map(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Text),
        any::<(i16, u8, u8)>().prop_map(|(year, month, day)| Value::Date(Date { year, month, day })),
        any::<(u8, u8, u8, i32)>().prop_map(|(hour, minute, second, micros)| Value::Time(Time { hour, minute, second, micros })),
        any::<(i16, u8, i32)>().prop_map(|(year, month, micros)| {
            Value::DateTime(Date { year, month, day: 1 }, Time { hour: 0, minute: 1, second: 2, micros })
        }),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        let name = prop::collection::vec(any::<u8>(), 0..5);
        let properties = prop::collection::vec((name.clone(), inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::List),
            properties.clone().prop_map(Value::Map),
            (inner.clone(), prop::collection::vec((name.clone(), properties.clone()), 0..3))
                .prop_map(|(id, tags)| Value::Vertex(Box::new(id), tags)),
            (inner.clone(), inner, name, any::<i64>(), properties).prop_map(|(source, target, name, rank, properties)| {
                Value::Edge(Box::new(Edge { source, target, name, rank, properties }))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn values_come_back_as_they_went(value in values()) {
        let mut bytes = Vec::new();
        value.write(&mut Writer::new(&mut bytes));
        let read = Value::read(&mut Reader::new(&bytes)).unwrap();
        // By their text: not a number is not equal to itself.
        prop_assert_eq!(format!("{read:?}"), format!("{value:?}"));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let call = Call::Execute { session: 0, statement: "" };
        drop(frame::payload(&bytes));
        drop(calls::read(call, 1, &bytes));
        drop(Value::read(&mut Reader::new(&bytes)));
    }

    /// Official replies, a few bytes changed and cut: these come deep into the reader.
    #[test]
    fn no_damage_makes_the_reader_panic(
        which in 0..3_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()
    ) {
        let (name, sequence) = [("execute", 4), ("error", 5), ("authenticate", 2)][which];
        let bytes = official(&format!("{name}.reply"));
        let mut message = frame::payload(&bytes[4..]).unwrap().to_vec();
        for (at, byte) in &changes {
            let at = at.index(message.len());
            message[at] = *byte;
        }
        message.truncate(cut.index(message.len()) + 1);
        for call in [Call::Execute { session: 0, statement: "" }, Call::Authenticate { user: "", password: "" }, Call::VerifyClientVersion] {
            drop(calls::read(call, sequence, &message));
        }
    }
}

#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    let mut value = Value::Int(1);
    for _ in 0..1_000 {
        value = Value::List(vec![value]);
    }
    let mut bytes = Vec::new();
    value.write(&mut Writer::new(&mut bytes));
    let error = Value::read(&mut Reader::new(&bytes)).unwrap_err();
    assert!(error.to_string().contains("too deeply"), "{error}");
}
