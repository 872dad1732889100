//! What carries envelopes between participants.

mod in_memory;
mod queries;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::envelope::Envelope;
use crate::health::HealthProblem;
use crate::message::Kind;

pub use crate::partition::{BUCKETS, Partition, bucket_of};

pub use in_memory::InMemory;
pub use queries::{Desk, NoReply, Question, Questions, Reply, ReplyOutcome, ReplyPath};
#[cfg(all(fuzzing, feature = "rabbitmq"))]
pub use rabbitmq::fuzzing;
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::{InvalidAddress, RabbitMq};
#[cfg(feature = "asyncapi")]
pub(crate) use rabbitmq::{exchange_of, queues_of};

/// A way for messages to travel.
///
/// A transport looks after its own connection: it reconnects, and restores what was declared and
/// subscribed. All implementations pass one conformance suite.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// What it can and can't do.
    fn capabilities(&self) -> Capabilities;

    /// Hands over messages in the given order and returns once they are on their way. The future
    /// that comes back resolves when each of them is settled, so that further messages can follow
    /// before.
    ///
    /// Waits while there is no connection.
    async fn publish(&self, messages: Vec<Envelope>) -> BoxFuture<'static, Vec<Settlement>>;

    /// Publishes messages apart from all others, and waits until each of them is settled. What the
    /// broker does about them affects no other message: a transport that publishes over channels
    /// uses a new one.
    ///
    /// A single message that is published this way is never [`Settlement::Suspected`]: if the
    /// broker refuses, it refuses this message.
    ///
    /// Waits while there is no connection.
    async fn publish_apart(&self, messages: Vec<Envelope>) -> Vec<Settlement> {
        self.publish(messages).await.await
    }

    /// Takes part in a consumer group: its members share the group's messages.
    ///
    /// Returns at once; the group exists and is bound as soon as there is a connection.
    async fn subscribe(&self, group: Group) -> Subscription;

    /// Ends what the group is bound for, for all its members. Its queues stay, with what they hold.
    ///
    /// Waits while there is no connection.
    ///
    /// # Errors
    ///
    /// If the broker refuses, or the connection goes.
    async fn unbind(&self, group: &Group) -> Result<(), TransportError>;

    /// Removes the queues of a group if they hold nothing and nobody takes part. Says whether they
    /// are gone.
    ///
    /// # Errors
    ///
    /// As for [`unbind`](Self::unbind).
    async fn remove(&self, group: &Group) -> Result<bool, TransportError>;

    /// How many messages wait in the queues of a group, those that the broker has given up on
    /// included; `None` if the group has no queue.
    ///
    /// # Errors
    ///
    /// As for [`unbind`](Self::unbind).
    async fn depth(&self, group: &Group) -> Result<Option<u64>, TransportError>;

    /// Asks a query and waits for its reply, for `timeout` at most (and never longer than ten
    /// minutes). A missing connection is waited for, too. Dropping the future frees what it holds.
    ///
    /// # Errors
    ///
    /// See [`NoReply`]. That nobody answers is told at once.
    async fn request(&self, query: Envelope, timeout: Duration) -> Result<Reply, NoReply>;

    /// Takes part in answering a query: the instances of a service share what is asked of it.
    ///
    /// Returns at once; queries come as soon as there is a connection.
    async fn serve(&self, desk: Desk) -> Questions;

    /// Begins to connect, if that has to be done: before, nothing may be connected until it is
    /// needed. The bus calls this when it starts.
    fn connect(&self) {}

    /// Whether there is a connection now.
    fn connected(&self) -> bool;

    /// As [`connected`](Self::connected), but distinguishes a connection that could not be made, or
    /// was lost, from one of which nothing is known yet.
    fn connection(&self) -> ConnectionState {
        if self.connected() {
            ConnectionState::Connected
        } else {
            ConnectionState::Disconnected
        }
    }

    /// What keeps the transport from doing part of its work although it is connected, such as a
    /// queue that could not be declared.
    fn problems(&self) -> Vec<HealthProblem> {
        Vec::new()
    }

    /// Ends subscriptions and connections. What was not acknowledged will be delivered again.
    async fn close(&self);
}

/// How far a connection to the broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The first attempt to connect has neither succeeded nor failed.
    Connecting,
    /// The broker is connected.
    Connected,
    /// The broker can't be reached, or the connection was lost. Connecting goes on.
    Disconnected,
}

/// What a transport can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Messages outlive the process and the broker.
    pub durable: bool,
    /// A message that is delivered again and again without an answer is given up after some
    /// deliveries and comes back as [`Delivery::given_up`].
    pub delivery_limit: bool,
    /// Several processes can take part.
    pub distributed: bool,
}

/// What became of a message that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Every queue bound for it has it, safely.
    Confirmed,
    /// It is mandatory and no queue is bound for it.
    Unroutable,
    /// The broker refused this message. Some of the queues bound for it may have it nevertheless.
    Refused(Refusal),
    /// The broker refused one of the messages that were in flight together, and settled none of
    /// them. Which one it refused is unknown.
    Suspected(Refusal),
    /// The connection failed, or the message was not sent. This says nothing about the message.
    Failed(String),
}

/// Why the broker refused a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable word for the kind of error, in lower case, such as `access_refused`. It is the
    /// `error.type` in metrics.
    pub error: Cow<'static, str>,
    /// What the broker said.
    pub reason: String,
    /// What the refusal applies to.
    pub scope: RefusalScope,
}

/// What a refusal applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalScope {
    /// This message, such as one that is too large. Others of its name may be taken.
    Message,
    /// Every message of this kind and name for the time being, such as while a queue is full.
    Destination,
}

/// A consumer group: a queue of its own, shared by the instances of a service, or a queue for each
/// partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name of the queue, or what the names of the partitions' queues begin with.
    pub name: String,
    /// What the queue receives.
    pub bindings: Vec<Binding>,
    /// How many messages may be under way to this member without being acknowledged.
    pub prefetch: u16,
    /// The partition that is taken part in, if the group is ordered. A partition delivers to one
    /// member at a time, and to the next one only when that one has left or is gone, beginning
    /// with what it had not acknowledged. Messages without a key are in the first partition.
    pub partition: Option<Partition>,
}

/// One kind of message that a group receives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// Events or commands.
    pub kind: Kind,
    /// A message name. For events `*` stands for one word of it and `#` for any number of words.
    pub pattern: String,
}

/// Membership in a group. Dropping it ends the membership.
#[derive(Debug)]
pub struct Subscription {
    /// The messages, as they come. Ends when the transport is closed.
    pub deliveries: mpsc::UnboundedReceiver<Delivery>,
    bound: CancellationToken,
    /// Tells the transport when the subscription is dropped.
    _membership: DropGuard,
}

impl Subscription {
    /// A subscription whose end cancels the token behind the guard. The transport cancels `bound`
    /// when the group's queue is there and bound.
    pub fn new(
        deliveries: mpsc::UnboundedReceiver<Delivery>,
        bound: CancellationToken,
        membership: DropGuard,
    ) -> Self {
        Self {
            deliveries,
            bound,
            _membership: membership,
        }
    }

    /// Cancelled when the group's queue is there and bound: from then on nothing is missed.
    pub fn bound(&self) -> CancellationToken {
        self.bound.clone()
    }
}

/// Why a transport could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the broker could not {action}")]
pub struct TransportError {
    /// What it was asked, as in "could not `unbind the queue`".
    pub action: &'static str,
    /// What the transport's library said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// One delivery of a message to a member of a group.
#[derive(Debug)]
pub struct Delivery {
    /// The message, or what could not be read as one.
    pub content: Result<Arc<Envelope>, Malformed>,
    /// Whether the broker has given up on the message: it was delivered too often without an
    /// answer, and this is the last the group hears of it.
    pub given_up: bool,
    /// How to answer for it.
    pub receipt: Receipt,
}

/// Bytes from the wire that are no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong with them.
    pub reason: String,
    /// The body as it came.
    pub body: Bytes,
}

/// The right to answer for a delivery, once.
#[derive(Debug, Clone)]
pub struct Receipt {
    tag: u64,
    channel: Arc<dyn Acknowledge>,
}

/// Where the answers for deliveries go: what a transport gives its receipts.
#[async_trait]
pub trait Acknowledge: Send + Sync + fmt::Debug {
    /// The effects of these deliveries are committed. If they can't be acknowledged any more,
    /// because their channel is gone, they are delivered again.
    async fn acknowledge(&self, tags: &[u64]);

    /// Whether it still can acknowledge.
    fn is_open(&self) -> bool {
        true
    }
}

impl Receipt {
    /// A receipt for the delivery that `channel` knows as `tag`.
    pub fn new(tag: u64, channel: Arc<dyn Acknowledge>) -> Self {
        Self { tag, channel }
    }

    /// Whether the delivery can still be answered for. If not, it comes again, and need not be
    /// handled now.
    pub fn is_open(&self) -> bool {
        self.channel.is_open()
    }

    /// Acknowledges deliveries whose effects are committed.
    ///
    /// # Cancel safety
    ///
    /// This function is not cancel safe: if its future is dropped, some of the deliveries may not
    /// be acknowledged. They are delivered again.
    pub async fn acknowledge(receipts: &[Self]) {
        for of_one_channel in receipts.chunk_by(|a, b| Arc::ptr_eq(&a.channel, &b.channel)) {
            let tags: Vec<u64> = of_one_channel.iter().map(|receipt| receipt.tag).collect();
            of_one_channel[0].channel.acknowledge(&tags).await;
        }
    }
}
