//! A member of a consumer group, through all reconnects.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
        let acknowledge = Arc::new(ChannelAcknowledge::new(
            channel.clone(),
            self.group.prefetch,
        ));
        loop {
            let next = self.cancelled.run_until_cancelled(consumer.next());
            let Some(next) = next.await else {
                acknowledge.hold_nothing_back().await;
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
    tags: Mutex<Tags>,
    /// Held from the choice of frames until they are queued: a frame for tags that another one
    /// has answered for already is an error that closes the channel.
    sending: tokio::sync::Mutex<()>,
}

impl ChannelAcknowledge {
    fn new(channel: Channel, prefetch: u16) -> Self {
        let tags = Tags {
            most_held_back: usize::from(prefetch / 2),
            ..Tags::default()
        };
        Self {
            channel,
            tags: Mutex::new(tags),
            sending: tokio::sync::Mutex::default(),
        }
    }

    fn receipt(self: Arc<Self>, tag: u64) -> Receipt {
        self.tags().outstanding.insert(tag);
        Receipt::new(tag, self)
    }

    fn tags(&self) -> MutexGuard<'_, Tags> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers for everything that is settled or will be, at once.
    async fn hold_nothing_back(&self) {
        self.tags().most_held_back = 0;
        self.acknowledge(&[]).await;
    }
}

#[async_trait]
impl Acknowledge for ChannelAcknowledge {
    async fn acknowledge(&self, tags: &[u64]) {
        let _sending = self.sending.lock().await;
        let frames = self.tags().settle(tags);
        for (tag, multiple) in frames {
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

/// What a channel has delivered and not been answered for.
///
/// A frame answers for all tags up to one, or for one alone, and costs the broker the same. So what
/// comes behind something outstanding is held back until that is settled as well. With two workers
/// batches often end out of turn, and would cost a frame for each message.
#[derive(Debug, Default)]
struct Tags {
    /// Nobody has settled them.
    outstanding: BTreeSet<u64>,
    /// They are settled, and come behind one that is outstanding.
    held_back: BTreeSet<u64>,
    /// What is held back counts as under way, so more would use up the prefetch.
    most_held_back: usize,
}

impl Tags {
    /// Settles messages, and says which frames answer for them: (tag, multiple).
    fn settle(&mut self, tags: &[u64]) -> Vec<(u64, bool)> {
        let settled = tags.iter().filter(|tag| self.outstanding.remove(tag));
        self.held_back.extend(settled);
        let behind = match self.outstanding.first() {
            Some(first) => self.held_back.split_off(first),
            None => BTreeSet::new(),
        };
        let before = std::mem::replace(&mut self.held_back, behind);
        let mut frames = Vec::from_iter(before.last().map(|tag| (*tag, true)));
        if self.held_back.len() > self.most_held_back {
            let single = std::mem::take(&mut self.held_back);
            frames.extend(single.into_iter().map(|tag| (tag, false)));
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(tags: impl IntoIterator<Item = u64>, most_held_back: usize) -> Tags {
        Tags {
            outstanding: tags.into_iter().collect(),
            held_back: BTreeSet::new(),
            most_held_back,
        }
    }

    #[test]
    fn one_frame_answers_for_everything_before_the_first_outstanding_delivery() {
        let mut tags = delivered(1..=6, 3);
        assert_eq!(tags.settle(&[1, 2]), [(2, true)]);
        assert_eq!(tags.settle(&[4, 5]), []);
        assert_eq!(tags.settle(&[3]), [(5, true)]);
        assert_eq!(tags.settle(&[6]), [(6, true)]);
    }

    #[test]
    fn no_more_is_held_back_than_agreed() {
        let mut tags = delivered(1..=6, 2);
        assert_eq!(tags.settle(&[3, 4]), []);
        let each = [(3, false), (4, false), (6, false)];
        assert_eq!(tags.settle(&[6]), each);
        assert_eq!(tags.settle(&[1, 2]), [(2, true)]);
        assert_eq!(tags.settle(&[5]), [(5, true)]);
    }
}
