//! Answering: a desk, through all reconnects.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reply_to::ReplyChannel;
use super::wire::{self, Returning};
use crate::transport::queries::{KEPT_WITHOUT_RESPONDER, LONGEST_WAIT};
use crate::transport::rabbitmq::connection::Supervised;
use crate::transport::rabbitmq::{topology, wire as envelopes};
use crate::transport::{Desk, Question, Reply, ReplyPath};

/// Before a channel is set up again that the broker has closed: the reason may still hold.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// Passes on what is asked at a desk, on one channel after another, until cancelled.
pub(in crate::transport::rabbitmq) async fn run(
    connection: Supervised,
    replies: ReplyChannel,
    desk: Desk,
    questions: UnboundedSender<Question>,
    cancelled: CancellationToken,
) {
    let desk = Arc::new(desk);
    loop {
        let consuming = consume(&connection, &replies, &desk, &questions);
        match cancelled.run_until_cancelled(consuming).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(query = desk.query, %error, "answering was interrupted");
            }
        }
        if connection.connected() {
            let pause = tokio::time::sleep(REOPEN_DELAY);
            cancelled.run_until_cancelled(pause).await;
        }
    }
}

/// Sets a channel up and passes on what it delivers, until it ends.
///
/// When this is dropped, the consumer is cancelled. The channel stays open for the answers still to
/// come, until the last of them is given.
async fn consume(
    connection: &Supervised,
    replies: &ReplyChannel,
    desk: &Arc<Desk>,
    questions: &UnboundedSender<Question>,
) -> lapin::Result<()> {
    let Some(connection) = connection.get().await else {
        return Ok(());
    };
    let channel = connection.create_channel().await?;
    topology::declare_exchanges(&channel).await?;
    let queue = declare(&channel, desk).await?;
    let prefetch = desk.at_once.max(1);
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(queue, "".into(), options, FieldTable::default())
        .await?;
    while let Some(delivery) = consumer.next().await {
        let question = question(delivery?, &channel, replies, desk);
        if questions.send(question).is_err() {
            break;
        }
    }
    Ok(())
}

/// Declares and binds the queue of a desk.
///
/// Each query has a queue of its own, shared by those instances that answer it: while an old
/// version of a service is being replaced, a query that only the new one knows finds the new one.
/// What is in it is worth nothing in a minute, and it goes when nobody has consumed from it for some
/// time. It is a quorum queue all the same: a durable queue on one node of a cluster can't be used,
/// nor made anew on another one, while that node is down.
async fn declare(channel: &Channel, desk: &Desk) -> lapin::Result<ShortString> {
    let name = format!("{}.queries.{}", desk.service, desk.query);
    let queue = ShortString::try_new(name).map_err(std::io::Error::other)?;
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-expires", millis(KEPT_WITHOUT_RESPONDER)),
        // For queries of which nobody says how long they are waited for.
        ("x-message-ttl", millis(LONGEST_WAIT)),
    ] {
        arguments.insert(name.into(), value);
    }
    let options = QueueDeclareOptions::durable();
    channel
        .queue_declare(queue.clone(), options, arguments)
        .await?;
    channel
        .queue_bind(
            queue.clone(),
            topology::QUERIES.into(),
            desk.query.as_str().into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok(queue)
}

fn millis(duration: Duration) -> AMQPValue {
    AMQPValue::LongLongInt(duration.as_millis().try_into().unwrap_or(i64::MAX))
}

fn question(
    delivery: Delivery,
    channel: &Channel,
    replies: &ReplyChannel,
    desk: &Arc<Desk>,
) -> Question {
    let time_left = wire::time_left(&delivery.properties);
    let mut returning = Returning::of(&delivery.properties);
    let tag = delivery.delivery_tag;
    let content = envelopes::read(delivery).map(Arc::new);
    if let Ok(query) = &content {
        returning.caused_by(query);
    }
    let path = AskerPath {
        channel: channel.clone(),
        tag,
        replies: replies.clone(),
        desk: desk.clone(),
        returning,
        until: Instant::now() + time_left,
    };
    Question::new(content, time_left, Box::new(path))
}

#[derive(Debug)]
struct AskerPath {
    channel: Channel,
    tag: u64,
    replies: ReplyChannel,
    desk: Arc<Desk>,
    returning: Returning,
    until: Instant,
}

#[async_trait]
impl ReplyPath for AskerPath {
    async fn settle(self: Box<Self>, reply: Option<Reply>) {
        if let Some(reply) = reply {
            self.replies
                .send(&self.desk, &self.returning, &reply, self.until)
                .await;
        }
        // If the channel is gone, another instance may answer once more, which changes nothing.
        let _ = self
            .channel
            .basic_ack(self.tag, BasicAckOptions::default())
            .await;
    }
}
