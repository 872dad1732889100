//! A member of a consumer group, through all reconnects.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::connection::Supervised;
use super::{topology, wire};
use crate::transport::{Acknowledge, Delivery, Group, Receipt};

/// Before a channel is set up again that the broker has closed: the reason may still hold.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// How long the broker may take to set up a channel that nobody wants any more.
const OPEN_GRACE: Duration = Duration::from_secs(5);

/// The two queues of a group. Each is consumed on a channel of its own, where delivery tags rise
/// in the order in which messages are passed on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// What the group, or the partition of it, is bound for.
    Group,
    /// What the broker has given up on.
    Dead,
}

/// What one queue of a group delivers, on one channel after another.
#[derive(Debug)]
pub(super) struct QueueConsumer {
    pub(super) connection: Supervised,
    pub(super) group: Group,
    pub(super) source: Source,
    pub(super) deliveries: UnboundedSender<Delivery>,
    /// Held while a queue is set up. Who declares a quorum queue that somebody else is just making
    /// is told that it is there, and consuming it then ends the connection (RabbitMQ 3.10).
    pub(super) setting_up: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled by this, once the group is bound.
    pub(super) bound: CancellationToken,
    pub(super) cancelled: CancellationToken,
}

impl QueueConsumer {
    /// Passes on what the queue delivers, until cancelled.
    pub(super) async fn run(self) {
        loop {
            match self.consume().await {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(queue = self.queue(), %error, "consuming was interrupted");
                }
            }
            let pause = tokio::time::sleep(REOPEN_DELAY);
            if self.cancelled.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    fn queue(&self) -> String {
        match self.source {
            Source::Group => topology::queue_of(&self.group),
            Source::Dead => topology::dead_queue(&self.group.name),
        }
    }

    /// Sets a channel up and passes on what it delivers, until it ends or this is cancelled.
    async fn consume(&self) -> lapin::Result<()> {
        let connection = self.cancelled.run_until_cancelled(self.connection.get());
        let Some(connection) = connection.await.flatten() else {
            return Ok(());
        };
        // Not given up half-way: a consumer that the broker has made, and that is not known here
        // yet, would go on to take its share of the messages. Unless the broker does not answer.
        let given_up = async {
            self.cancelled.cancelled().await;
            tokio::time::sleep(OPEN_GRACE).await;
        };
        let (channel, mut consumer) = tokio::select! {
            opened = self.open(&connection) => opened?,
            () = given_up => return Ok(()),
        };
        self.bound.cancel();
        let acknowledge = Arc::new(ChannelAcknowledge::new(channel.clone()));
        loop {
            let next = self.cancelled.run_until_cancelled(consumer.next());
            let Some(next) = next.await else {
                break;
            };
            let Some(delivery) = next.transpose()? else {
                return Ok(());
            };
            let receipt = acknowledge.clone().receipt(delivery.delivery_tag);
            // Whoever listened has left; cancelling is under way.
            let _ = self.deliveries.send(Delivery {
                content: wire::read(delivery).map(Arc::new),
                given_up: matches!(self.source, Source::Dead),
                receipt,
            });
        }
        // A consumer that is only cancelled keeps what it was sent, and the next one of the
        // partition would be given what comes behind. With the channel it goes back first.
        if self.group.partition.is_some() {
            let _ = channel.close(200, "left the group".into()).await;
        }
        // Otherwise the channel stays open for acknowledgements still to come, until the last
        // receipt goes.
        Ok(())
    }

    async fn open(&self, connection: &Connection) -> lapin::Result<(Channel, Consumer)> {
        let _setting_up = self.setting_up.lock().await;
        let channel = connection.create_channel().await?;
        topology::declare_exchanges(&channel).await?;
        topology::declare_group(&channel, &self.group).await?;
        channel
            .basic_qos(self.group.prefetch, BasicQosOptions::default())
            .await?;
        let consumer = subscribe(&channel, &self.queue()).await?;
        Ok((channel, consumer))
    }
}

async fn subscribe(channel: &Channel, queue: &str) -> lapin::Result<Consumer> {
    channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
}

/// Acknowledges on one channel, as many as possible with one frame.
#[derive(Debug)]
struct ChannelAcknowledge {
    channel: Channel,
    outstanding: Mutex<BTreeSet<u64>>,
    /// Held from the choice of frames until they are queued: a frame for tags that another one
    /// has answered for already is an error that closes the channel.
    sending: tokio::sync::Mutex<()>,
}

impl ChannelAcknowledge {
    fn new(channel: Channel) -> Self {
        Self {
            channel,
            outstanding: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
        }
    }

    fn receipt(self: Arc<Self>, tag: u64) -> Receipt {
        self.outstanding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tag);
        Receipt::new(tag, self)
    }

    /// Forgets the tags and says which frames answer for them: (tag, multiple).
    fn settle(&self, tags: &[u64]) -> Vec<(u64, bool)> {
        let mut outstanding = self
            .outstanding
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for tag in tags {
            outstanding.remove(tag);
        }
        frames(tags, outstanding.first().copied())
    }
}

/// One frame for all tags before the first one that is still outstanding, and one for each of
/// the others.
fn frames(tags: &[u64], first_outstanding: Option<u64>) -> Vec<(u64, bool)> {
    let is_before = |tag: &u64| first_outstanding.is_none_or(|first| *tag < first);
    let (before, after): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| is_before(tag));
    let multiple = before.into_iter().max().map(|tag| (tag, true));
    let single = after.into_iter().map(|tag| (tag, false));
    multiple.into_iter().chain(single).collect()
}

#[async_trait]
impl Acknowledge for ChannelAcknowledge {
    async fn acknowledge(&self, tags: &[u64]) {
        let _sending = self.sending.lock().await;
        for (tag, multiple) in self.settle(tags) {
            // If the channel is gone, the messages come again and the inbox knows them.
            let _ = self
                .channel
                .basic_ack(tag, BasicAckOptions { multiple })
                .await;
        }
    }

    fn is_open(&self) -> bool {
        self.channel.status().connected()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_acknowledges_everything_before_the_first_outstanding_delivery() {
        assert_eq!(frames(&[1, 2, 3], None), [(3, true)]);
        assert_eq!(frames(&[1, 2, 3], Some(4)), [(3, true)]);
        assert_eq!(
            frames(&[1, 3, 4], Some(2)),
            [(1, true), (3, false), (4, false)]
        );
        assert_eq!(frames(&[5, 6], Some(1)), [(5, false), (6, false)]);
    }
}
