//! [`RabbitMq`]: AMQP 0-9-1 on quorum queues, RabbitMQ 3.10 and later.
//!
//! Publishing and consuming have a connection each, since a broker that holds back publishers
//! does so by connection, and consumers should go on then.

mod confirms;
mod connection;
mod consumer;
#[cfg(fuzzing)]
pub mod fuzzing;
mod publisher;
mod queries;
mod screen;
mod structured;
mod topology;
mod unbinding;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use lapin::uri::AMQPUri;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Supervised;
use self::consumer::{QueueConsumer, Source};
use self::publisher::Publisher;
use self::queries::{Asker, ReplyChannel};
#[cfg(feature = "asyncapi")]
pub(crate) use self::topology::{exchange_of, queues_of};
use super::{
    Capabilities, Desk, Group, NoReply, Questions, Reply, Settlement, Subscription, Transport,
    TransportError,
};
use crate::conditions::Conditions;
use crate::envelope::Envelope;
use crate::health::HealthProblem;
use crate::partition::Partition;

/// Messages over RabbitMQ.
#[derive(Debug)]
pub struct RabbitMq {
    consuming: Supervised,
    publisher: Publisher,
    asker: Asker,
    replies: ReplyChannel,
    setting_up: Arc<Mutex<()>>,
    conditions: Conditions,
    closed: CancellationToken,
    tasks: TaskTracker,
}

impl RabbitMq {
    /// A transport over the nodes of a broker at the given addresses, tried in turn until one
    /// answers. The first one to be tried is taken at random, so that clients spread over a cluster.
    ///
    /// An address is `amqp://user:password@host:port/vhost`, or `amqps` for TLS; several are
    /// separated by commas. Nothing is connected before the bus starts.
    ///
    /// # Errors
    ///
    /// If one of them is no AMQP address.
    pub fn new(addresses: &str) -> Result<Self, InvalidAddress> {
        let addresses = addresses
            .split(',')
            .map(|address| address.trim().parse::<AMQPUri>().map_err(InvalidAddress))
            .collect::<Result<Vec<_>, _>>()?;
        let closed = CancellationToken::new();
        let publishing = Supervised::new("publishing", addresses.clone(), closed.clone());
        let tasks = TaskTracker::new();
        Ok(Self {
            consuming: Supervised::new("consuming", addresses, closed.clone()),
            asker: Asker::new(publishing.clone(), closed.clone(), tasks.clone()),
            replies: ReplyChannel::new(publishing.clone()),
            publisher: Publisher::new(publishing),
            setting_up: Arc::default(),
            conditions: Conditions::default(),
            closed,
            tasks,
        })
    }
}

/// What was given is no AMQP address. The address is not repeated, as it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("not an AMQP address (amqp://user:password@host:port/vhost): {0}")]
pub struct InvalidAddress(String);

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
        let sources: &[Source] = match group.partition {
            // What the broker gave up on is looked after along with the first partition.
            None | Some(Partition { index: 0, .. }) => &[Source::Group, Source::Dead],
            Some(_) => &[Source::Group],
        };
        for source in sources {
            let consumer = QueueConsumer {
                connection: self.consuming.clone(),
                group: group.clone(),
                source: *source,
                deliveries: sender.clone(),
                setting_up: self.setting_up.clone(),
                bound: bound.clone(),
                cancelled: cancelled.clone(),
            };
            self.tasks.spawn(consumer.run());
        }
        Subscription::new(deliveries, bound, membership)
    }

    async fn unbind(&self, group: &Group) -> Result<(), TransportError> {
        unbinding::unbind(&self.consuming, group).await
    }

    async fn remove(&self, group: &Group) -> Result<bool, TransportError> {
        unbinding::remove(&self.consuming, group).await
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
            cancelled,
        ));
        Questions::new(questions, membership)
    }

    fn connected(&self) -> bool {
        self.publisher.connected() && self.consuming.connected()
    }

    fn problems(&self) -> Vec<HealthProblem> {
        self.conditions.problems()
    }

    async fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.consuming.close().await;
        self.publisher.close().await;
    }
}
