//! A test's virtual host against a real RabbitMQ.
#![expect(clippy::expect_used, reason = "what fails here has to fail the test")]

use std::time::Duration;

use lapin::options::{BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, ConnectionProperties};
use reqwest::StatusCode;
use test_servers::{TestBroker, eventually};
use uuid::{NoContext, Timestamp, Uuid};

const SOON: Duration = Duration::from_secs(30);

async fn connect(url: &str) -> lapin::Result<lapin::Connection> {
    lapin::Connection::connect(url, ConnectionProperties::default()).await
}

async fn declare(channel: &Channel, queue: &str) {
    channel
        .queue_declare(
            queue.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .expect("the user may declare queues");
}

#[tokio::test]
async fn queues_are_listed_with_what_waits_and_what_leads_to_them() {
    let broker = TestBroker::create().await;
    let connection = connect(&broker.url()).await.expect("the user may connect");
    let channel = connection.create_channel().await.expect("a channel");
    declare(&channel, "orders/new").await;
    channel
        .queue_bind(
            "orders/new".into(),
            "amq.topic".into(),
            "ordering.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("the user may bind");
    for _ in 0..3 {
        channel
            .basic_publish(
                "amq.topic".into(),
                "ordering.order.placed".into(),
                BasicPublishOptions::default(),
                b"{}",
                BasicProperties::default(),
            )
            .await
            .expect("the user may publish");
    }

    let queue = eventually("three messages wait", SOON, async || {
        broker
            .queue("orders/new")
            .await
            .filter(|queue| queue.messages == 3)
    })
    .await;
    assert!(queue.durable);
    assert_eq!(queue.kind, "classic");
    assert_eq!(queue.ready, 3);
    assert_eq!(queue.unacknowledged, 0);

    let bindings = broker.bindings("orders/new").await;
    assert!(
        bindings
            .iter()
            .any(|binding| binding.exchange == "amq.topic" && binding.routing_key == "ordering.#"),
        "{bindings:?}"
    );
    assert_eq!(broker.bindings("no such queue").await, Vec::new());
}

#[tokio::test]
async fn another_virtual_host_sees_nothing_of_it() {
    let (one, other) = tokio::join!(TestBroker::create(), TestBroker::create());
    let connection = connect(&one.url()).await.expect("the user may connect");
    let channel = connection.create_channel().await.expect("a channel");
    declare(&channel, "mine").await;

    assert!(one.queue("mine").await.is_some());
    assert!(other.queue("mine").await.is_none());
}

#[tokio::test]
async fn connections_are_closed_from_the_brokers_side() {
    let broker = TestBroker::create().await;
    let connection = connect(&broker.url()).await.expect("the user may connect");

    assert_eq!(broker.close_connections().await, 1);
    eventually("the client has seen it", SOON, async || {
        (!connection.status().connected()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_virtual_host_goes_when_it_is_old_and_nobody_uses_it() {
    let api = std::env::var("TEST_RABBITMQ_MANAGEMENT_URL").expect("the variable is set");
    let ages_ago = Timestamp::from_unix(NoContext, 1_000_000_000, 0);
    let old = format!("test-{}", Uuid::new_v7(ages_ago).simple());
    let url = format!("{api}/api/vhosts/{old}");
    let client = reqwest::Client::new();
    let request = client.put(&url).header("content-type", "application/json");
    // Another test may delete it while it is still being made.
    request.body("{}").send().await.expect("an answer");
    let young = TestBroker::create().await;
    let _another = TestBroker::create().await;
    let gone = client.get(&url).send().await.expect("an answer");
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    connect(&young.url()).await.expect("it is still there");
}
