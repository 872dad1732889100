//! Bytes from a broker, as a hostile publisher can make them: whatever passes the screen, the AMQP
//! client can parse, and where a read ends makes no difference.
#![no_main]

use amq_protocol::frame::parse_frame;
use event_bus::transport::fuzzing::screened;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const END: u8 = 0xCE;

#[derive(Debug, Arbitrary)]
struct Wire {
    messages: Vec<Message>,
    pieces: Vec<u8>,
}

/// A message, of which the publisher chose everything but the frames around it.
#[derive(Debug, Arbitrary)]
struct Message {
    channel: u8,
    exchange: Vec<u8>,
    routing_key: Vec<u8>,
    properties: Vec<u8>,
    body_size: u32,
    bodies: Vec<Vec<u8>>,
}

impl Message {
    fn frames(&self) -> Vec<u8> {
        let deliver = [
            &[0, 60, 0, 60][..],
            &short(b"consumer"),
            &[0; 9],
            &short(&self.exchange),
            &short(&self.routing_key),
        ];
        let size = u64::from(self.body_size).to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &size, &self.properties];
        let mut frames = frame(1, self.channel, &deliver.concat());
        frames.extend(frame(2, self.channel, &header.concat()));
        for body in &self.bodies {
            frames.extend(frame(3, self.channel, body));
        }
        frames
    }
}

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len())
        .expect("a short input")
        .to_be_bytes();
    [&[kind, 0, channel][..], &size, payload, &[END]].concat()
}

fn short(text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(255)];
    let length = u8::try_from(text.len()).expect("it was shortened");
    [&[length], text].concat()
}

fuzz_target!(|wire: Wire| {
    let bytes: Vec<u8> = wire.messages.iter().flat_map(Message::frames).collect();
    let clean = screened(&bytes, &[]);

    let pieces: Vec<usize> = wire
        .pieces
        .iter()
        .map(|piece| usize::from(*piece))
        .collect();
    assert_eq!(screened(&bytes, &pieces), clean, "it depends on the reads");
    assert_eq!(
        screened(&clean, &[]),
        clean,
        "what is clean is screened again"
    );

    let mut rest = &clean[..];
    while !rest.is_empty() {
        let (after, _frame) = parse_frame(rest).expect("the client can parse it");
        rest = after;
    }
});
