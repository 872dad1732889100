//! What a publisher with an AMQP client of its own may send.

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use uuid::Uuid;

use crate::support::{Effect, Ground, Placed, Running};

/// Publishes with these properties and this body, through a client that knows no envelope.
pub(crate) async fn publish(ground: &Ground, properties: BasicProperties, body: &[u8]) {
    publish_to(ground, ("events", "shop.order.placed"), properties, body).await;
}

/// The same, to an exchange with a routing key.
pub(crate) async fn publish_to(
    ground: &Ground,
    (exchange, routing_key): (&str, &str),
    properties: BasicProperties,
    body: &[u8],
) {
    let properties = match properties.content_type() {
        Some(_) => properties,
        None => properties.with_content_type("application/json".into()),
    };
    let connection = Connection::connect(&ground.broker().url(), ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(
            exchange.into(),
            routing_key.into(),
            options,
            body,
            properties,
        )
        .await
        .expect("it is sent");
    connection
        .close(200, "done".into())
        .await
        .expect("all is sent");
}

fn header(name: &str, value: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(name.into(), AMQPValue::LongString(value.into()));
    named().with_headers(headers)
}

/// What a plain publisher sets.
fn named() -> BasicProperties {
    BasicProperties::default()
        .with_message_id(Uuid::now_v7().to_string().into())
        .with_type("shop.order.placed".into())
}

#[tokio::test]
async fn whatever_is_published_is_handled_or_kept_and_blocks_nobody() {
    let ground = Ground::rabbitmq().await;
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([0]).await;
    ground.expect_effects("stock", &[("reserve", 0)]).await;

    let order = |n: u32| format!("{{\"order\":{n}}}").into_bytes();
    // A plain AMQP client with an id and a type takes part.
    publish(&ground, named(), &order(1)).await;
    let no_message = [
        BasicProperties::default(),
        named().with_message_id("no uuid".into()),
        named().with_message_id("a\0b".into()),
        named().with_app_id("a\0b".into()),
        header("cloudEvents_source", "a\0b"),
        header("cloudEvents_partitionkey", "\0"),
        header("cloudEvents_dataversion", "one"),
    ];
    let kept = i64::try_from(no_message.len()).expect("a few");
    for properties in no_message {
        publish(&ground, properties, &order(9)).await;
    }
    let bad_bodies: [&[u8]; 5] = [
        b"",
        b"\0",
        b"{\"order\":\"\\u0000\"}",
        b"[1,2,3]",
        &[b'['; 100_000],
    ];
    for body in bad_bodies {
        publish(&ground, named(), body).await;
    }
    let too_large = vec![b' '; event_bus::MAX_BODY_BYTES + 1];
    publish(&ground, named(), &too_large).await;
    publish(&ground, named().with_type("of.nobody".into()), &order(9)).await;
    publish(
        &ground,
        header("traceparent", &"x".repeat(10_000)),
        &order(2),
    )
    .await;

    shop.place([3]).await;
    let expected = [
        ("reserve", 0),
        ("reserve", 1),
        ("reserve", 2),
        ("reserve", 3),
    ];
    ground.expect_effects("stock", &expected).await;
    let malformed = "select count(*) from dead_letters where reason = 'malformed'";
    ground.expect_count("stock", malformed, kept + 5).await;
    for reason in ["too_large", "unknown_message"] {
        let query = match reason {
            "too_large" => "select count(*) from dead_letters where reason = 'too_large'",
            _ => "select count(*) from dead_letters where reason = 'unknown_message'",
        };
        ground.expect_count("stock", query, 1).await;
    }
}
