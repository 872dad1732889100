//! The limits of the broker: a bare client on a quorum queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::try_join;

const QUEUE: &str = "bare";
const PERSISTENT: u8 = 2;
/// Maximum number of unconfirmed messages, and number of deliveries per acknowledgement.
const WINDOW: usize = 512;
const PREFETCH: u16 = 1024;

/// Messages per second of one bare client in each direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broker {
    /// Published with pipelined confirms, without a consumer.
    pub(crate) publishing: f64,
    /// Consumed from a full queue, with hundreds of deliveries per acknowledgement.
    pub(crate) consuming: f64,
    /// Published, consumed and acknowledged at the same time.
    pub(crate) flowing: f64,
}

/// Measures with bodies of `body` bytes.
///
/// # Errors
///
/// If the broker fails.
pub(super) async fn measure(url: &str, body: usize, messages: usize) -> anyhow::Result<Broker> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let publisher = connection.create_channel().await?;
    publisher
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    declare(&publisher).await?;
    // The consumer has its own connection, as it has in the bus.
    let other = Connection::connect(url, ConnectionProperties::default()).await?;

    let body = vec![b'x'; body];
    let publishing = publish(&publisher, &body, messages).await?;
    let consuming = consume(&other, QUEUE, messages).await?;
    let started = Instant::now();
    try_join!(
        publish(&publisher, &body, messages),
        consume(&other, QUEUE, messages)
    )?;
    let flowing = started.elapsed();
    connection.close(200, "measured".into()).await?;
    other.close(200, "measured".into()).await?;
    let rate = |took: Duration| messages as f64 / took.as_secs_f64();
    Ok(Broker {
        publishing: rate(publishing),
        consuming: rate(consuming),
        flowing: rate(flowing),
    })
}

/// Consumes this many messages from a queue. Returns messages per second.
pub(super) async fn take(url: &str, queue: &str, messages: usize) -> anyhow::Result<f64> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let took = consume(&connection, queue, messages).await?;
    connection.close(200, "measured".into()).await?;
    Ok(messages as f64 / took.as_secs_f64())
}

async fn declare(channel: &Channel) -> anyhow::Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    channel
        .queue_declare(QUEUE.into(), options, arguments)
        .await?;
    Ok(())
}

/// Publishes with up to [`WINDOW`] pending confirms. Returns the time until the last confirm.
async fn publish(channel: &Channel, body: &[u8], messages: usize) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut unconfirmed = VecDeque::with_capacity(WINDOW);
    for _ in 0..messages {
        if unconfirmed.len() == WINDOW {
            confirmed(unconfirmed.pop_front()).await?;
        }
        let confirm = channel
            .basic_publish(
                "".into(),
                QUEUE.into(),
                BasicPublishOptions::default(),
                body,
                BasicProperties::default().with_delivery_mode(PERSISTENT),
            )
            .await?;
        unconfirmed.push_back(confirm);
    }
    while !unconfirmed.is_empty() {
        confirmed(unconfirmed.pop_front()).await?;
    }
    Ok(started.elapsed())
}

async fn confirmed(confirm: Option<lapin::PublisherConfirm>) -> anyhow::Result<()> {
    let confirmation = confirm.context("no confirm is pending")?.await?;
    anyhow::ensure!(
        matches!(confirmation, Confirmation::Ack(_)),
        "the broker rejected a message"
    );
    Ok(())
}

/// Consumes this many messages. Returns the time until the last one is acknowledged.
async fn consume(
    connection: &Connection,
    queue: &str,
    messages: usize,
) -> anyhow::Result<Duration> {
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let started = Instant::now();
    let mut consumer = channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    for taken in 1..=messages {
        let delivery = consumer
            .next()
            .await
            .context("the consumer was cancelled")??;
        if taken % WINDOW == 0 || taken == messages {
            let multiple = BasicAckOptions { multiple: true };
            channel.basic_ack(delivery.delivery_tag, multiple).await?;
        }
    }
    let took = started.elapsed();
    channel.close(200, "measured".into()).await?;
    Ok(took)
}
