//! Bytes that no client would write, but any program can. The consumers' own client could not read
//! them, and must never be given them.

use super::{PLACED, Scene, placed};
use crate::raw_amqp::{
    APP_ID, HEADERS, MESSAGE_ID, RawAmqp, TYPE, header, long_string, short_string, typed_header,
};

#[tokio::test]
async fn a_text_that_is_not_utf8_makes_a_dead_letter_wherever_it_stands() {
    let mut scene = Scene::set().await;
    let mut expected = Vec::new();
    let texts = [
        (0, "content type"),
        (1, "content encoding"),
        (5, "correlation id"),
        (6, "reply-to"),
        (MESSAGE_ID, "message id"),
        (TYPE, "type"),
        (APP_ID, "app id"),
        (13, "cluster id"),
    ];
    for (index, what) in texts {
        scene.publish(placed().text(index, b"gr\xF6\xDFe")).await;
        expected.push(format!("malformed: its {what} is not UTF-8"));
    }
    let name = header(b"\xFF", b"value");
    let in_table = typed_header(b"outer", b'F', &long_string(&name));
    let in_array = typed_header(
        b"outer",
        b'A',
        &long_string(&[b"F", &long_string(&name)[..]].concat()),
    );
    for headers in [&name, &in_table, &in_array] {
        scene.publish(placed().headers(headers)).await;
        expected.push("malformed: its header name is not UTF-8".to_owned());
    }
    let value = header(b"cloudEvents_source", b"\xFF");
    scene.publish(placed().headers(&value)).await;
    expected.push("malformed: its header `cloudEvents_source` is not UTF-8".to_owned());

    scene.expect_the_next_order_is_handled().await;
    scene.expect_letters(expected).await;
    scene.expect_empty_queues().await;
}

#[tokio::test]
async fn a_routing_key_that_is_not_utf8_makes_a_dead_letter() {
    let mut scene = Scene::set().await;
    // The copy brings it to the queue.
    let copy = [b"S", &long_string(PLACED.1)[..]].concat();
    let copy = placed().headers(&typed_header(b"CC", b'A', &long_string(&copy)));
    let way: (&[u8], &[u8]) = (b"events", b"\xFF");
    scene.publish_to(way, copy, b"{\"order\":0}").await;

    scene.expect_the_next_order_is_handled().await;
    let letter = "malformed: its routing key is not UTF-8";
    scene.expect_letters(vec![letter.to_owned()]).await;
    scene.expect_empty_queues().await;
}

#[tokio::test]
async fn headers_that_would_take_the_stack_or_the_memory_make_dead_letters() {
    let mut scene = Scene::set().await;
    let nest = |levels: usize, open: &dyn Fn(&[u8]) -> Vec<u8>| {
        let innermost = vec![b'V'];
        (0..levels).fold(innermost, |inner, _| open(&inner))
    };
    let in_array = |inner: &[u8]| [b"A", &long_string(inner)[..]].concat();
    let in_table = |inner: &[u8]| {
        let entry = [&short_string(b"")[..], inner].concat();
        [b"F", &long_string(&entry)[..]].concat()
    };
    let bomb = |value: Vec<u8>| placed().headers(&[&short_string(b"bomb")[..], &value].concat());
    scene.publish(bomb(nest(5_000, &in_array))).await;
    scene.publish(bomb(nest(5_000, &in_table))).await;
    scene.publish(bomb(in_array(&[b'V'; 30_000]))).await;
    // Each with a name of its own: RabbitMQ 4 passes on one of those that share a name.
    let many_names: Vec<u8> = (0..4_000u16)
        .flat_map(|n| [&short_string(n.to_string().as_bytes())[..], b"V"].concat())
        .collect();
    scene.publish(placed().headers(&many_names)).await;
    // The largest frame that fits: the broker itself would make it larger.
    let largest = 131_072 - 8 - 12 - 2 - 4 - 6 - 37 - 18;
    scene
        .publish(placed().headers(&header(b"x", &vec![b'x'; largest])))
        .await;
    // A few levels and some hundred headers are nobody's harm.
    let some: Vec<u8> = (0..500u16)
        .flat_map(|n| header(format!("h{n}").as_bytes(), b"value"))
        .chain([&short_string(b"nested")[..], &nest(10, &in_table)].concat())
        .collect();
    scene
        .publish_to(PLACED, placed().headers(&some), b"{\"order\":2}")
        .await;
    scene.orders += 1;

    scene.expect_the_next_order_is_handled().await;
    let letters = scene.letters(5).await;
    let nested = "malformed: its headers are nested deeper than 16 levels";
    let many = "malformed: it has more than 1024 values in its headers";
    assert_eq!(letters[..4], [many, many, nested, nested]);
    assert!(
        letters[4].starts_with("malformed: its properties are 131"),
        "{letters:?}"
    );
    scene.expect_empty_queues().await;
}

#[tokio::test]
async fn of_a_body_over_the_limit_the_beginning_is_kept() {
    const LARGE: usize = 16 * 1024 * 1024;
    const MESSAGES: usize = 12;
    let mut scene = Scene::set().await;
    let before = most_memory();
    for _ in 0..MESSAGES {
        scene.publish_to(PLACED, placed(), &vec![b' '; LARGE]).await;
    }
    // Of what else is wrong with it something can be said, too.
    let latin1 = placed().text(APP_ID, b"\xE4");
    scene.publish_to(PLACED, latin1, &vec![b' '; LARGE]).await;

    scene.expect_the_next_order_is_handled().await;
    let letters = scene.letters(MESSAGES + 1).await;
    assert!(
        letters[0].starts_with("malformed: its app id"),
        "{letters:?}"
    );
    assert!(
        letters[1..]
            .iter()
            .all(|letter| letter.starts_with("too_large: "))
    );
    let kept = "select max(octet_length(body))::bigint from dead_letters";
    let limit = i64::try_from(event_bus::MAX_BODY_BYTES).expect("it fits");
    scene.ground.expect_count("stock", kept, limit + 1).await;
    scene.expect_empty_queues().await;
    let grown = most_memory() - before;
    assert!(grown < MESSAGES * LARGE / 2, "{grown} bytes were taken");
}

/// The most memory that this process has had so far, in bytes.
fn most_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kibibytes.expect("a number") * 1024
}

#[tokio::test]
async fn what_is_no_amqp_does_not_get_past_the_broker() {
    let mut scene = Scene::set().await;
    let url = scene.ground.broker().url();
    let unknown_type = placed().headers(&typed_header(b"x", b'z', &[0; 8]));
    let cut_off = placed().raw(HEADERS, vec![0, 0, 0, 9, 1]);
    let no_number = placed().text(7, b"\xFF");
    for properties in [unknown_type, cut_off, no_number] {
        let mut hostile = RawAmqp::connect(&url).await;
        let published = hostile.publish(PLACED, &properties, b"{\"order\":0}").await;
        assert!(published.is_err(), "{properties:?}");
    }
    // More of a body than was said, and less.
    for size in [1, 1000] {
        let mut hostile = RawAmqp::connect(&url).await;
        hostile
            .write(PLACED, &placed(), size, b"{\"order\":0}")
            .await;
        let published = hostile.publish(PLACED, &placed(), b"{\"order\":0}").await;
        assert!(published.is_err(), "{size}");
    }
    scene.expect_the_next_order_is_handled().await;
    scene.expect_letters(Vec::new()).await;
}
