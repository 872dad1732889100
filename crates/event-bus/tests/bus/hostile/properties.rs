//! Properties that any client can write, and no sensible one would.

use event_bus::Message;

use super::{PLACED, Scene, placed};
use crate::raw_amqp::{MESSAGE_ID, Properties, TYPE, header, long_string, typed_header};
use crate::support::Placed;

#[tokio::test]
async fn odd_properties_are_no_harm() {
    let mut scene = Scene::set().await;
    let mut expected = Vec::new();
    let with =
        |name: &str, value: &str| placed().headers(&header(name.as_bytes(), value.as_bytes()));
    let copies = b"S"
        .iter()
        .copied()
        .chain(long_string(b"of.nobody"))
        .collect::<Vec<_>>();
    let odd = [
        placed().raw(3, vec![1]).raw(4, vec![0xFF]),
        placed().raw(9, vec![0xFF; 8]),
        placed().raw(9, vec![0; 8]),
        placed().text(7, b"60000"),
        placed().text(11, b"guest"),
        placed()
            .text(5, b"")
            .text(6, b"")
            .text(0, b"")
            .text(13, &[b'x'; 255]),
        placed().headers(b""),
        placed().headers(&typed_header(b"BCC", b'A', &long_string(&copies))),
        placed().headers(&typed_header(b"x-death", b'l', &[0; 8])),
        placed().headers(&typed_header(b"cloudEvents_type", b'F', &long_string(b""))),
        placed().headers(&typed_header(
            b"traceparent",
            b'd',
            &[0x40, 9, 0, 0, 0, 0, 0, 0],
        )),
        with("cloudEvents_time", "-009999-01-01T00:00:00Z"),
        with("cloudEvents_time", "tomorrow"),
        with("cloudEvents_correlationid", "\0"),
        with(
            "traceparent",
            "00-00000000000000000000000000000000-0000000000000000-00",
        ),
        with("tracestate", &"\u{1}=\u{2},".repeat(1000)),
        with("event-bus-anything", ""),
        with("", ""),
    ];
    for properties in odd {
        scene.orders += 1;
        let body = format!("{{\"order\":{}}}", scene.orders);
        scene.publish_to(PLACED, properties, body.as_bytes()).await;
    }
    let refused = [
        (
            placed().text(MESSAGE_ID, b""),
            "it has neither `cloudEvents_id` nor a message id",
        ),
        (
            placed().text(TYPE, b""),
            "it has neither `cloudEvents_type` nor a type",
        ),
        (
            with("cloudEvents_id", ""),
            "it has neither `cloudEvents_id` nor a message id",
        ),
        (
            with("cloudEvents_type", &"x".repeat(256)),
            "its type is 256 bytes, more than the 255 that are taken",
        ),
        (
            with("cloudEvents_partitionkey", &"x".repeat(1025)),
            "its partition key is 1025 bytes, more than the 1024 that are taken",
        ),
        (
            with("cloudEvents_dataversion", "-1"),
            "its dataversion is not a number",
        ),
        (
            with("event-bus-refused", "says its publisher"),
            "says its publisher",
        ),
        (
            placed().text(MESSAGE_ID, b"00000000-0000-0000-0000-000000000000"),
            "its id `00000000-0000-0000-0000-000000000000` stands for no id",
        ),
        (
            placed().text(MESSAGE_ID, b"42"),
            "its id is not a UUID, and it names no source that the id is unique for",
        ),
    ];
    for (properties, objection) in refused {
        scene.publish(properties).await;
        expected.push(format!("malformed: {objection}"));
    }
    scene.expect_the_next_order_is_handled().await;
    scene.expect_letters(expected).await;
    scene.expect_empty_queues().await;
}

#[tokio::test]
async fn an_id_that_is_no_uuid_is_handled_once_for_its_source() {
    let mut scene = Scene::set().await;
    for (source, id, order) in [
        ("till 1", "42", 2),
        ("till 1", "42", 2),
        ("till 2", "42", 3),
        ("till 2", "43", 4),
    ] {
        let headers = [
            header(b"cloudEvents_id", id.as_bytes()),
            header(b"cloudEvents_source", source.as_bytes()),
            header(b"cloudEvents_type", Placed::NAME.as_bytes()),
        ];
        let body = format!("{{\"order\":{order}}}");
        let properties = Properties::default().headers(&headers.concat());
        scene.publish_to(PLACED, properties, body.as_bytes()).await;
    }
    scene.orders = 4;
    scene.expect_the_next_order_is_handled().await;
    scene.expect_letters(Vec::new()).await;
    scene.expect_empty_queues().await;
}
