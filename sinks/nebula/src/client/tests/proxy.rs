//! The proxy before the server, giving answers of its own in the server's language.

use tidemark_test_support::proxy::{Call, Fate, Framing, Proxy};

use super::super::compact::{Writer, kind};
use super::super::frame;

/// In front of the server at `upstream`; `rule` is asked for each call.
pub(crate) fn before(upstream: &str, rule: impl FnMut(Call<'_>) -> Fate + Send + 'static) -> Proxy {
    Proxy::start(upstream, Framing::Length, rule)
}

/// The fate of a call that is answered with this code and message: an `ExecutionResponse`.
pub(crate) fn answer(call: Call<'_>, code: i32, message: &str) -> Fate {
    let sequence = u32::from_be_bytes(call.0[8..12].try_into().unwrap());
    let mut bytes = Vec::new();
    frame::begin(sequence, &mut bytes);
    bytes.extend_from_slice(&[0x82, 0x42]);
    let mut writer = Writer::new(&mut bytes);
    writer.varint(sequence.into());
    writer.bytes(b"execute");
    writer.body(|writer| {
        writer.field(0, kind::STRUCT);
        writer.body(|writer| {
            writer.field(1, kind::I32);
            writer.zigzag(code.into());
            writer.long_field(2, 0);
            writer.binary_field(5, message.as_bytes());
        });
    });
    frame::end(&mut bytes).unwrap();
    Fate::Answer(bytes)
}
