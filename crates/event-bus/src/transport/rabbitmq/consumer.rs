//! A member of a consumer group, through all reconnects.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer, ErrorKind};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::acknowledging::ChannelAcknowledge;
use super::connection::Supervised;
use super::declaring::is_soft;
use super::upkeep::Upkeep;
use super::{topology, wire};
use crate::conditions::Conditions;
use crate::transport::{Delivery, Group};

/// Before consuming is tried again that could not be begun, or that ended soon: the reason may
/// still hold.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The delay doubles with each failure, up to this.
const LONGEST_DELAY: Duration = Duration::from_secs(8);
/// Consuming that went on for as long as this begins again at once.
const SETTLED: Duration = Duration::from_secs(1);

/// How long the broker may take to set up a channel after the member has left.
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
    /// The topology that has to exist before the queue is consumed.
    pub(super) upkeep: Arc<Upkeep>,
    pub(super) conditions: Conditions,
    /// Cancelled by this, once the group is bound.
    pub(super) bound: CancellationToken,
    pub(super) cancelled: CancellationToken,
}

/// How consuming on one channel ended.
enum End {
    /// The member has left the group, or the transport is closed.
    Left,
    /// With the connection, which is reported for itself.
    Disconnected,
    /// The broker cancelled the consumer or closed the channel.
    Interrupted { reason: String, is_timeout: bool },
    /// It could not be begun.
    Failed(OpenError),
}

/// Why consuming could not be begun.
enum OpenError {
    /// The topology is not as it should be, which is reported for the group.
    Topology,
    /// The queue exists and can't be consumed.
    Queue(lapin::Error),
}

impl QueueConsumer {
    /// Passes on what the queue delivers, until cancelled.
    pub(super) async fn run(self) {
        let subject = format!("queue {}", self.queue());
        let mut delay = Duration::ZERO;
        // How long a channel lived that the broker closed because of a missing acknowledgement.
        let mut timed_out_after = None;
        loop {
            let began = Instant::now();
            match self.consume(&subject, timed_out_after).await {
                End::Left => break,
                End::Disconnected => delay = Duration::ZERO,
                End::Failed(error) => {
                    if let OpenError::Queue(error) = error {
                        self.conditions.raise(&subject, explain(&error));
                    } else {
                        self.conditions.clear(&subject);
                    }
                    delay = (delay * 2).clamp(FIRST_DELAY, LONGEST_DELAY);
                }
                End::Interrupted { reason, is_timeout } => {
                    self.conditions.raise(&subject, reason);
                    // The queue may have been deleted, perhaps with more.
                    self.upkeep.distrust().await;
                    timed_out_after = is_timeout.then(|| began.elapsed());
                    delay = match is_timeout || began.elapsed() > SETTLED {
                        true => Duration::ZERO,
                        false => (delay * 2).clamp(FIRST_DELAY, LONGEST_DELAY),
                    };
                }
            }
            let pause = tokio::time::sleep(delay);
            if self.cancelled.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
        self.conditions.clear(&subject);
    }

    fn queue(&self) -> String {
        match self.source {
            Source::Group => topology::queue_of(&self.group),
            Source::Dead => topology::dead_queue(&self.group.name),
        }
    }

    /// Sets a channel up and passes on what it delivers, until it ends or this is cancelled.
    async fn consume(&self, subject: &str, timed_out_after: Option<Duration>) -> End {
        let connection = self.cancelled.run_until_cancelled(self.connection.get());
        let Some(connection) = connection.await.flatten() else {
            return End::Left;
        };
        // Not given up half-way: a consumer that the broker has made, and that is not known here
        // yet, would go on to take its share of the messages. Unless the broker does not answer.
        let given_up = async {
            self.cancelled.cancelled().await;
            tokio::time::sleep(OPEN_GRACE).await;
        };
        let opened = tokio::select! {
            opened = self.open(&connection) => opened,
            () = given_up => return End::Left,
        };
        let (channel, consumer) = match opened {
            Ok(opened) => opened,
            Err(_) if !connection.status().connected() => return End::Disconnected,
            Err(error) => return End::Failed(error),
        };
        // After a timeout it is unknown whether the handler is quicker now, until a channel has
        // lived for longer than the last one.
        let clear_at = timed_out_after.map(|lived| Instant::now() + lived * 2);
        if clear_at.is_none() {
            self.conditions.clear(subject);
        }
        match self.pass_on(&channel, consumer, subject, clear_at).await {
            End::Interrupted { .. } if !connection.status().connected() => End::Disconnected,
            end => end,
        }
    }

    /// Passes on what a channel delivers.
    async fn pass_on(
        &self,
        channel: &Channel,
        mut consumer: Consumer,
        subject: &str,
        clear_at: Option<Instant>,
    ) -> End {
        let prefetch = self.group.prefetch;
        let acknowledge = Arc::new(ChannelAcknowledge::new(channel.clone(), prefetch));
        let cleared = async {
            match clear_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
            self.conditions.clear(subject);
        };
        tokio::pin!(cleared);
        let mut is_cleared = false;
        loop {
            let next = tokio::select! {
                biased;
                () = self.cancelled.cancelled() => break,
                () = self.upkeep.bound.cancelled(), if !self.bound.is_cancelled() => {
                    self.bound.cancel();
                    continue;
                }
                next = consumer.next() => next,
                () = &mut cleared, if !is_cleared => {
                    is_cleared = true;
                    continue;
                }
            };
            let delivery = match next {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => return interrupted(&error),
                None => {
                    return End::Interrupted {
                        reason: "the broker cancelled the consumer; the queue was deleted, or its \
                                 node stopped"
                            .to_owned(),
                        is_timeout: false,
                    };
                }
            };
            let receipt = acknowledge.clone().receipt(delivery.delivery_tag);
            // The receiver may have been dropped already; the cancellation follows.
            let _ = self.deliveries.send(Delivery {
                content: wire::read(delivery).map(Arc::new),
                given_up: matches!(self.source, Source::Dead),
                receipt,
            });
        }
        acknowledge.hold_nothing_back().await;
        // A consumer that is only cancelled keeps what it was sent, and the next one of the
        // partition would be given what comes behind. With the channel it goes back first.
        if self.group.partition.is_some() {
            let _ = channel.close(200, "left the group".into()).await;
        }
        // Otherwise the channel stays open for acknowledgements still to come, until the last
        // receipt goes.
        End::Left
    }

    async fn open(&self, connection: &Arc<Connection>) -> Result<(Channel, Consumer), OpenError> {
        let established = self.upkeep.establish(connection).await;
        established.map_err(|_| OpenError::Topology)?;
        let begun = async {
            let channel = connection.create_channel().await?;
            channel
                .basic_qos(self.group.prefetch, BasicQosOptions::default())
                .await?;
            let consumer = subscribe(&channel, &self.queue()).await?;
            Ok((channel, consumer))
        };
        let begun = begun.await;
        if begun.is_err() {
            self.upkeep.distrust().await;
        }
        begun.map_err(OpenError::Queue)
    }
}

fn explain(error: &lapin::Error) -> String {
    if is_soft(error, AMQPSoftError::ACCESSREFUSED) {
        return format!(
            "the user may not consume it ({error}); grant the permission `read` for it"
        );
    }
    format!("can't be consumed: {error}")
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

/// Why the broker has closed a channel.
fn interrupted(error: &lapin::Error) -> End {
    let is_timeout = match error.kind() {
        ErrorKind::ProtocolError(error) => is_delivery_timeout(error.get_message().as_str()),
        _ => false,
    };
    let reason = if is_timeout {
        format!(
            "a delivery was not acknowledged within the broker's `consumer_timeout`, and is \
             delivered again ({error}); make the handler quicker, or raise `consumer_timeout` \
             for the queue"
        )
    } else {
        format!("consuming was interrupted: {error}")
    };
    End::Interrupted { reason, is_timeout }
}

/// The text is all that distinguishes this precondition from others.
fn is_delivery_timeout(message: &str) -> bool {
    message.contains("delivery acknowledgement") && message.contains("timed out")
}
