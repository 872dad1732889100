//! [`RabbitMq`]: AMQP 0-9-1 on quorum queues, RabbitMQ 3.10 and later.
//!
//! Publishing and consuming have a connection each, since a broker that holds back publishers
//! does so by connection, and consumers should go on then.

mod acknowledging;
mod address;
mod confirms;
mod connection;
mod consumer;
mod declaring;
#[cfg(fuzzing)]
pub mod fuzzing;
mod publisher;
mod queries;
mod screen;
mod structured;
mod topology;
mod unbinding;
mod upkeep;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::address::InvalidAddress;
use self::connection::Supervised;
use self::consumer::{QueueConsumer, Source};
use self::publisher::Publisher;
use self::queries::{Asker, ReplyChannel};
#[cfg(feature = "asyncapi")]
pub(crate) use self::topology::{exchange_of, queues_of};
use self::upkeep::Upkeeps;
use super::{
    Capabilities, ConnectionState, Desk, Group, NoReply, Questions, Reply, Settlement,
    Subscription, Transport, TransportError,
};
use crate::conditions::Conditions;
use crate::envelope::Envelope;
use crate::health::HealthProblem;
use crate::partition::Partition;

/// How long subscriptions, and then connections, may take to end when the transport is closed. A
/// broker that blocks a connection or is silent answers no good-bye.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Messages over RabbitMQ.
#[derive(Debug)]
pub struct RabbitMq {
    consuming: Supervised,
    publishing: Supervised,
    publisher: Publisher,
    asker: Asker,
    replies: ReplyChannel,
    upkeeps: Upkeeps,
    conditions: Conditions,
    closed: CancellationToken,
    tasks: TaskTracker,
}

impl RabbitMq {
    /// A transport over the nodes of a broker at the given addresses, tried in turn until one
    /// answers. The first one to be tried is taken at random, so that clients spread over a cluster.
    ///
    /// An address is `amqp://user:password@host:port/vhost`, or `amqps` for TLS; several are
    /// separated by commas. Special characters in a user name, a password or a virtual host are
    /// percent-encoded, a comma as `%2C`. Nothing is connected before the bus starts.
    ///
    /// A heartbeat of 10 s is requested unless the address says otherwise, as in
    /// `amqp://host/vhost?heartbeat=20`. The broker gives the messages of a consumer that was cut
    /// off, and the partitions of an ordered group, to others after two to three intervals.
    ///
    /// # Errors
    ///
    /// If one of them is not an AMQP address.
    pub fn new(addresses: &str) -> Result<Self, InvalidAddress> {
        let addresses = address::parse(addresses)?;
        let closed = CancellationToken::new();
        let conditions = Conditions::default();
        let connection = |purpose| {
            let (addresses, closed) = (addresses.clone(), closed.clone());
            Supervised::new(purpose, addresses, closed, conditions.clone())
        };
        let publishing = connection("publishing");
        let tasks = TaskTracker::new();
        Ok(Self {
            consuming: connection("consuming"),
            asker: Asker::new(
                publishing.clone(),
                conditions.clone(),
                closed.clone(),
                tasks.clone(),
            ),
            replies: ReplyChannel::new(publishing.clone()),
            publisher: Publisher::new(publishing.clone()),
            publishing,
            upkeeps: Upkeeps::default(),
            conditions,
            closed,
            tasks,
        })
    }
}

#[async_trait]
impl Transport for RabbitMq {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            delivery_limit: true,
            distributed: true,
        }
    }

    async fn publish(&self, messages: Vec<Envelope>) -> BoxFuture<'static, Vec<Settlement>> {
        self.publisher.publish(messages).await
    }

    async fn publish_apart(&self, messages: Vec<Envelope>) -> Vec<Settlement> {
        self.publisher.publish_apart(messages).await
    }

    async fn subscribe(&self, group: Group) -> Subscription {
        let (sender, deliveries) = mpsc::unbounded_channel();
        let cancelled = self.closed.child_token();
        let membership = cancelled.clone().drop_guard();
        let bound = CancellationToken::new();
        let upkeep = self
            .upkeeps
            .of(&group, &self.consuming, &self.conditions, &self.closed);
        let sources: &[Source] = match group.partition {
            // What the broker gave up on is consumed along with the first partition.
            None | Some(Partition { index: 0, .. }) => &[Source::Group, Source::Dead],
            Some(_) => &[Source::Group],
        };
        for source in sources {
            let consumer = QueueConsumer {
                connection: self.consuming.clone(),
                group: group.clone(),
                source: *source,
                deliveries: sender.clone(),
                upkeep: upkeep.clone(),
                conditions: self.conditions.clone(),
                bound: bound.clone(),
                cancelled: cancelled.clone(),
            };
            self.tasks.spawn(consumer.run());
        }
        Subscription::new(deliveries, bound, membership)
    }

    async fn unbind(&self, group: &Group) -> Result<(), TransportError> {
        self.upkeeps.withdraw(group).await;
        unbinding::unbind(&self.consuming, group).await
    }

    async fn remove(&self, group: &Group) -> Result<bool, TransportError> {
        unbinding::remove(&self.consuming, group).await
    }

    async fn depth(&self, group: &Group) -> Result<Option<u64>, TransportError> {
        unbinding::depth(&self.consuming, group).await
    }

    async fn request(&self, query: Envelope, timeout: Duration) -> Result<Reply, NoReply> {
        self.asker.request(query, timeout).await
    }

    async fn serve(&self, desk: Desk) -> Questions {
        let (sender, questions) = mpsc::unbounded_channel();
        let cancelled = self.closed.child_token();
        let membership = cancelled.clone().drop_guard();
        self.tasks.spawn(queries::answer(
            self.consuming.clone(),
            self.replies.clone(),
            desk,
            sender,
            self.conditions.clone(),
            cancelled,
        ));
        Questions::new(questions, membership)
    }

    fn connect(&self) {
        self.publishing.begin();
        self.consuming.begin();
    }

    fn connected(&self) -> bool {
        self.publishing.connected() && self.consuming.connected()
    }

    fn connection(&self) -> ConnectionState {
        match (self.publishing.state(), self.consuming.state()) {
            (ConnectionState::Connected, other) | (other, ConnectionState::Connected) => other,
            (ConnectionState::Disconnected, _) | (_, ConnectionState::Disconnected) => {
                ConnectionState::Disconnected
            }
            (ConnectionState::Connecting, ConnectionState::Connecting) => {
                ConnectionState::Connecting
            }
        }
    }

    fn problems(&self) -> Vec<HealthProblem> {
        self.conditions.problems()
    }

    async fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
        let _ = timeout(CLOSE_TIMEOUT, self.tasks.wait()).await;
        tokio::join!(
            self.consuming.close(CLOSE_TIMEOUT),
            self.publishing.close(CLOSE_TIMEOUT),
        );
    }
}
