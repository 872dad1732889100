//! [`InMemory`]: for tests and for programs of one process.

mod broker;
mod queries;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::broker::Broker;
use self::queries::Enquiries;
use super::{
    Capabilities, Desk, Group, NoReply, Questions, Reply, Settlement, Subscription, Transport,
    TransportError,
};
use crate::envelope::Envelope;

/// Messages within one process.
///
/// A clone is another participant: it shares the queues, and closing it does not close the others.
/// Nothing outlives the last of them.
#[derive(Debug, Default)]
pub struct InMemory {
    broker: Arc<Mutex<Broker>>,
    enquiries: Enquiries,
    closed: CancellationToken,
}

impl InMemory {
    /// A transport of its own. Buses that are to hear of each other get clones of one.
    pub fn new() -> Self {
        Self::default()
    }

    fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for InMemory {
    fn clone(&self) -> Self {
        Self {
            broker: self.broker.clone(),
            enquiries: self.enquiries.clone(),
            closed: CancellationToken::new(),
        }
    }
}

#[async_trait]
impl Transport for InMemory {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: false,
            delivery_limit: false,
            distributed: false,
        }
    }

    async fn publish(&self, messages: Vec<Envelope>) -> BoxFuture<'static, Vec<Settlement>> {
        let mut broker = self.broker();
        let settlements: Vec<_> = messages
            .into_iter()
            .map(|envelope| broker.route(&Arc::new(envelope)))
            .collect();
        async move { settlements }.boxed()
    }

    async fn subscribe(&self, group: Group) -> Subscription {
        let (sender, deliveries) = mpsc::unbounded_channel();
        let cancelled = self.closed.child_token();
        let membership = cancelled.clone().drop_guard();
        let bound = CancellationToken::new();
        bound.cancel();
        let seat = self.broker().join(group, sender, &self.broker);
        let participant = self.clone();
        tokio::spawn(async move {
            cancelled.cancelled().await;
            participant.broker().leave(&seat);
        });
        Subscription::new(deliveries, bound, membership)
    }

    async fn unbind(&self, group: &Group) -> Result<(), TransportError> {
        self.broker().unbind(group);
        Ok(())
    }

    async fn remove(&self, group: &Group) -> Result<bool, TransportError> {
        Ok(self.broker().remove(&group.name))
    }

    async fn depth(&self, group: &Group) -> Result<Option<u64>, TransportError> {
        Ok(self.broker().depth(&group.name))
    }

    async fn request(&self, query: Envelope, timeout: Duration) -> Result<Reply, NoReply> {
        let asking = self.enquiries.request(query, timeout);
        let reply = self.closed.run_until_cancelled(asking).await;
        reply.unwrap_or(Err(NoReply::Disconnected))
    }

    async fn serve(&self, desk: Desk) -> Questions {
        self.enquiries.serve(desk, self.closed.child_token())
    }

    fn connected(&self) -> bool {
        true
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}
