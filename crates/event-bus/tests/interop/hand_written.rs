//! Events as anybody may write them who has read the specifications: structured mode, and what
//! the binding leaves to the publisher.

use event_bus::Message as _;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, Ground, OrderPlaced};

fn structured() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/CloudEvents+JSON; charset=UTF-8".into())
}

fn event(id: Uuid, quantity: u32) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "type": OrderPlaced::NAME,
        "source": "/partner/orders",
        "time": "2024-11-01T12:30:00Z",
        "dataversion": 2,
        "partitionkey": "key-1",
        "correlationid": Uuid::nil(),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "vendor": { "unknown": ["but", "harmless"] },
        "data": { "orderId": Uuid::nil(), "quantity": quantity },
    })
}

#[tokio::test]
async fn an_event_in_structured_mode_is_handled() {
    let ground = Ground::new().await;
    let client = Client::connect(&ground).await;
    let (_stock, mut heard) = ground.listening_stock().await;
    let id = Uuid::now_v7();
    // Headers count for nothing beside it.
    let mut headers = FieldTable::default();
    headers.insert(
        "cloudEvents_source".into(),
        AMQPValue::LongString("elsewhere".into()),
    );
    let body = event(id, 4).to_string();
    client
        .publish(structured().with_headers(headers), body.as_bytes())
        .await;

    let received = heard.next().await;
    assert_eq!(received.id(), id);
    assert_eq!(received.source(), "/partner/orders");
    assert_eq!(received.time().to_string(), "2024-11-01T12:30:00Z");
    assert_eq!(received.correlation_id(), Uuid::nil());
    assert_eq!(
        received.trace_id(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    assert_eq!(received.quantity, 4);
}

#[tokio::test]
async fn a_structured_event_that_is_none_is_kept_and_blocks_nobody() {
    let ground = Ground::new().await;
    let client = Client::connect(&ground).await;
    let (_stock, mut heard) = ground.listening_stock().await;
    let with = |name: &str, value: Value| {
        let mut event = event(Uuid::now_v7(), 1);
        event[name] = value;
        event.to_string()
    };
    let mut in_base64 = event(Uuid::now_v7(), 1);
    in_base64["data_base64"] = json!("e30=");
    let cases = [
        ("{\"id\":".to_owned(), "its body is no structured event: "),
        ("[1, 2]".to_owned(), "its body is no structured event: "),
        ("[".repeat(100_000), "its body is no structured event: "),
        (
            with("specversion", json!("0.3")),
            "it is not an event of CloudEvents 1.0",
        ),
        (
            with("id", json!(Uuid::nil())),
            "its id `00000000-0000-0000-0000-000000000000` stands for no id",
        ),
        (
            with("id", json!(null)),
            "it has neither `cloudEvents_id` nor",
        ),
        (
            with("type", json!({})),
            "it has neither `cloudEvents_type` nor",
        ),
        (
            with("source", json!("a\0b")),
            "one of its attributes holds a NUL",
        ),
        (with("a\0b", json!(1)), "one of its attributes holds a NUL"),
        (
            with("dataversion", json!("two")),
            "its dataversion is not a number",
        ),
        (
            with("data", json!("text")),
            "the body is no `shop.order.placed`: ",
        ),
        (in_base64.to_string(), "its data is in base64"),
    ];
    for (body, _) in &cases {
        client.publish(structured(), body.as_bytes()).await;
    }
    let batch = BasicProperties::default();
    let batch = batch.with_content_type("application/cloudevents-batch+json".into());
    client.publish(batch, b"[]").await;
    let last = Uuid::now_v7();
    let sound = event(last, 9).to_string();
    client.publish(structured(), sound.as_bytes()).await;

    assert_eq!(heard.next().await.id(), last);
    let mut letters = ground.dead_letters(cases.len() + 1).await;
    let reasons = cases.iter().map(|(_, reason)| *reason);
    for reason in reasons.chain(["its content type is another one of CloudEvents than"]) {
        let reason = format!("malformed: {reason}");
        let letter = letters
            .iter()
            .position(|letter| letter.starts_with(&reason));
        letters.remove(letter.unwrap_or_else(|| panic!("no `{reason}` in {letters:#?}")));
    }
}

/// An event with a header of its own beside what an event needs.
fn binary(id: Uuid, name: &str, value: AMQPValue) -> BasicProperties {
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut headers = FieldTable::default();
    headers.insert("cloudEvents:specversion".into(), text("1.0"));
    headers.insert("cloudEvents:id".into(), text(&id.to_string()));
    headers.insert("cloudEvents:type".into(), text(OrderPlaced::NAME));
    headers.insert("cloudEvents:source".into(), text("partner"));
    headers.insert(name.into(), value);
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers)
}

#[tokio::test]
async fn a_time_may_be_text_or_a_timestamp_of_either_amqp() {
    let ground = Ground::new().await;
    let client = Client::connect(&ground).await;
    let (_stock, mut heard) = ground.listening_stock().await;
    let cases = [
        (
            AMQPValue::LongString("2024-11-01T12:30:00.5+00:00".into()),
            "2024-11-01T12:30:00.5Z",
        ),
        (AMQPValue::Timestamp(1_730_464_200), "2024-11-01T12:30:00Z"),
        (
            AMQPValue::LongLongInt(1_730_464_200_500),
            "2024-11-01T12:30:00.5Z",
        ),
    ];
    for (value, expected) in cases {
        let body = json!({ "orderId": Uuid::nil(), "quantity": 1 }).to_string();
        let properties = binary(Uuid::now_v7(), "cloudEvents:time", value);
        client.publish(properties, body.as_bytes()).await;
        assert_eq!(heard.next().await.time().to_string(), expected);
    }
}

#[tokio::test]
async fn an_event_of_another_specification_is_kept_and_says_so() {
    let ground = Ground::new().await;
    let client = Client::connect(&ground).await;
    let (_stock, _heard) = ground.listening_stock().await;
    let other = AMQPValue::LongString("2.0".into());
    let properties = binary(Uuid::now_v7(), "cloudEvents_specversion", other);
    client.publish(properties, b"{}").await;
    let letters = ground.dead_letters(1).await;
    assert_eq!(
        letters,
        ["malformed: it is not an event of CloudEvents 1.0"]
    );
}
