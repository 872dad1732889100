use proptest::prelude::*;

use super::{REFUSED, properties, screened};
use crate::envelope::MAX_BODY_BYTES;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("it fits").to_be_bytes();
    [&[kind][..], &channel.to_be_bytes(), &size, payload, &[0xCE]].concat()
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("it fits")], text].concat()
}

fn deliver(channel: u16, routing_key: &[u8]) -> Vec<u8> {
    let method = [
        &[0, 60, 0, 60][..],
        &short(b"consumer"),
        &[0; 9],
        &short(b"events"),
        &short(routing_key),
    ];
    frame(METHOD, channel, &method.concat())
}

fn header(channel: u16, body_size: usize, properties: &[u8]) -> Vec<u8> {
    let body_size = (body_size as u64).to_be_bytes();
    let content = [&[0, 60, 0, 0][..], &body_size, properties].concat();
    frame(HEADER, channel, &content)
}

/// Properties of which nothing but the content type is there.
fn content_type(text: &[u8]) -> Vec<u8> {
    [&[0x80, 0][..], &short(text)].concat()
}

fn refused(channel: u16, body_size: usize, objection: &str) -> Vec<u8> {
    let properties = properties::with_header(REFUSED, objection);
    header(channel, body_size, &properties)
}

#[test]
fn what_a_client_can_read_passes_unchanged() {
    let frames = [
        frame(METHOD, 0, &[0, 10, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0]),
        frame(METHOD, 0, &[b'x'; 5000]),
        deliver(1, "schlüssel".as_bytes()),
        header(1, 3, &content_type("größe".as_bytes())),
        frame(BODY, 1, b"\xFF\xFE\xFD"),
        frame(HEARTBEAT, 0, b""),
        deliver(2, b"key"),
        header(2, MAX_BODY_BYTES, &[0, 0]),
        frame(BODY, 2, &vec![0xCE; MAX_BODY_BYTES]),
    ]
    .concat();
    assert!(screened(&frames, &[]) == frames);
    assert_eq!(screened(b"AMQP\0\0\x09\x01", &[3]), b"AMQP\0\0\x09\x01");
}

#[test]
fn what_a_client_can_not_read_is_replaced_by_the_reason() {
    let objection = "its content type is not UTF-8";
    let hostile = header(1, 0, &content_type(b"\xFF"));
    assert_eq!(screened(&hostile, &[]), refused(1, 0, objection));

    let objection = "its routing key is not UTF-8";
    let hostile = [deliver(1, b"\xFF"), header(1, 0, &[0, 0])].concat();
    let expected = [deliver(1, b"?"), refused(1, 0, objection)].concat();
    assert_eq!(screened(&hostile, &[]), expected);

    let hostile = [header(7, 9, &vec![0; 70_000]), header(7, 9, &[0, 0])].concat();
    let objection = "its properties are 70012 bytes, more than the 32760 that are read";
    let expected = [refused(7, 9, objection), header(7, 9, &[0, 0])].concat();
    assert_eq!(screened(&hostile, &[]), expected);
}

#[test]
fn a_body_over_the_limit_is_cut_and_what_comes_between_its_frames_is_not() {
    let part = vec![b'x'; MAX_BODY_BYTES / 2 + 1];
    let hostile = [
        deliver(1, b"key"),
        header(1, 4 * part.len(), &[0, 0]),
        frame(BODY, 1, &part),
        frame(HEARTBEAT, 0, b""),
        frame(BODY, 1, &part),
        deliver(2, b"key"),
        frame(BODY, 1, &part),
        frame(BODY, 1, &part),
        header(2, 1, &[0, 0]),
        frame(BODY, 2, b"y"),
        deliver(1, b"next"),
        header(1, 2, &[0, 0]),
        frame(BODY, 1, b"zz"),
    ];
    let expected = [
        deliver(1, b"key"),
        header(1, MAX_BODY_BYTES + 1, &[0, 0]),
        frame(BODY, 1, &part),
        frame(HEARTBEAT, 0, b""),
        frame(BODY, 1, &part[..part.len() - 1]),
        deliver(2, b"key"),
        header(2, 1, &[0, 0]),
        frame(BODY, 2, b"y"),
        deliver(1, b"next"),
        header(1, 2, &[0, 0]),
        frame(BODY, 1, b"zz"),
    ];
    for pieces in [&[][..], &[1], &[MAX_BODY_BYTES + 5]] {
        assert!(screened(&hostile.concat(), pieces) == expected.concat());
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let channel = || 0..3u16;
    prop_oneof![
        (channel(), bytes()).prop_map(|(channel, key)| deliver(channel, &key)),
        (channel(), bytes()).prop_map(|(channel, text)| header(channel, 5, &content_type(&text))),
        (channel(), bytes()).prop_map(|(channel, properties)| header(channel, 5, &properties)),
        (channel(), bytes()).prop_map(|(channel, body)| frame(BODY, channel, &body)),
        (prop_oneof![1..4u8, Just(8)], channel(), bytes())
            .prop_map(|(kind, channel, payload)| frame(kind, channel, &payload)),
    ]
}

proptest! {
    #[test]
    fn where_a_read_ends_makes_no_difference(
        frames in prop::collection::vec(any_frame(), 1..20),
        pieces in prop::collection::vec(1..50usize, 1..20),
    ) {
        let bytes = frames.concat();
        prop_assert_eq!(screened(&bytes, &pieces), screened(&bytes, &[]));
    }

    #[test]
    fn what_passed_once_passes_again_unchanged(
        frames in prop::collection::vec(any_frame(), 1..20),
    ) {
        let once = screened(&frames.concat(), &[]);
        prop_assert_eq!(screened(&once, &[]), once);
    }
}
