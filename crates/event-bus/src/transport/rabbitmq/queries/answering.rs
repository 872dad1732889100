//! Answering: a desk, through all reconnects.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reply_to::ReplyChannel;
use super::wire::{self, Returning};
use crate::conditions::Conditions;
use crate::transport::queries::{KEPT_WITHOUT_RESPONDER, LONGEST_WAIT};
use crate::transport::rabbitmq::connection::Supervised;
use crate::transport::rabbitmq::declaring::{DeclareError, Declaring, Mode};
use crate::transport::rabbitmq::upkeep::CHECK_INTERVAL;
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
    conditions: Conditions,
    cancelled: CancellationToken,
) {
    let desk = Arc::new(desk);
    let subject = format!("request {}", desk.query);
    loop {
        let consuming = consume(&connection, &replies, &desk, &questions, &conditions);
        match cancelled.run_until_cancelled(consuming).await {
            None => break,
            // A lost connection is reported for itself.
            Some(ended) if connection.connected() => {
                let reason = match ended {
                    Ok(()) => "the broker cancelled the consumer".to_owned(),
                    Err(error) => error.to_string(),
                };
                conditions.raise(&subject, format!("can't be answered: {reason}"));
                let pause = tokio::time::sleep(REOPEN_DELAY);
                cancelled.run_until_cancelled(pause).await;
            }
            Some(_) => {}
        }
    }
    conditions.clear(&subject);
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
    conditions: &Conditions,
) -> Result<(), DeclareError> {
    let Some(connection) = connection.get().await else {
        return Ok(());
    };
    let queue = declare(&connection, desk, Mode::Declare).await?;
    let channel = connection.create_channel().await?;
    let prefetch = desk.at_once.max(1);
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(queue, "".into(), options, FieldTable::default())
        .await?;
    conditions.clear(&format!("request {}", desk.query));
    let mut checks = tokio::time::interval(CHECK_INTERVAL);
    checks.reset();
    loop {
        tokio::select! {
            delivery = consumer.next() => {
                let Some(delivery) = delivery else {
                    return Ok(());
                };
                let question = question(delivery?, &channel, replies, desk);
                if questions.send(question).is_err() {
                    return Ok(());
                }
            }
            // An exchange or a binding may have been deleted meanwhile.
            _ = checks.tick() => {
                declare(&connection, desk, Mode::Check).await?;
            }
        }
    }
}

/// Declares and binds the queue of a desk.
///
/// Each query has a queue of its own, shared by those instances that answer it: while an old
/// version of a service is being replaced, a query that only the new one knows finds the new one.
/// What is in it is worth nothing in a minute, and it goes when nobody has consumed from it for some
/// time. It is a quorum queue all the same: a durable queue on one node of a cluster can't be used,
/// nor made anew on another one, while that node is down.
async fn declare(
    connection: &Connection,
    desk: &Desk,
    mode: Mode,
) -> Result<ShortString, DeclareError> {
    let name = format!("{}.queries.{}", desk.service, desk.query);
    let queue = ShortString::try_new(name).map_err(std::io::Error::other);
    let queue = queue.map_err(lapin::Error::from)?;
    let arguments = topology::quorum(&[
        ("x-expires", millis(KEPT_WITHOUT_RESPONDER)),
        // For queries of which nobody says how long they are waited for.
        ("x-message-ttl", millis(LONGEST_WAIT)),
    ]);
    let mut declaring = Declaring::on(connection, mode).await?;
    topology::declare_exchanges(&mut declaring).await?;
    declaring.queue(&queue, arguments).await?;
    declaring
        .bind_queue(
            &queue,
            topology::QUERIES,
            &desk.query,
            FieldTable::default(),
        )
        .await?;
    declaring.close().await;
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
