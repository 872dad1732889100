//! [`InMemory`]: for tests and for programs of one process.

mod queries;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::queries::Enquiries;
use super::{
    Acknowledge, Binding, Capabilities, Delivery, Desk, Group, NoReply, Questions, Receipt, Reply,
    Settlement, Subscription, Transport,
};
use crate::envelope::Envelope;
use crate::message::Kind;

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
        let name = group.name.clone();
        let member = self.broker().join(group, sender, &self.broker);
        let participant = self.clone();
        tokio::spawn(async move {
            cancelled.cancelled().await;
            participant.broker().leave(&name, member);
        });
        Subscription::new(deliveries, membership)
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

#[derive(Debug, Default)]
struct Broker {
    groups: HashMap<String, Queue>,
    members: u64,
}

/// The messages of a group. Like a durable queue it stays when its last member leaves.
#[derive(Debug, Default)]
struct Queue {
    bindings: BTreeSet<Binding>,
    waiting: VecDeque<Arc<Envelope>>,
    members: BTreeMap<u64, Member>,
}

#[derive(Debug)]
struct Member {
    sender: mpsc::UnboundedSender<Delivery>,
    prefetch: usize,
    unacknowledged: BTreeMap<u64, Arc<Envelope>>,
    last_tag: u64,
    acknowledge: Arc<MemberAcknowledge>,
}

impl Broker {
    fn route(&mut self, envelope: &Arc<Envelope>) -> Settlement {
        let mut routed = false;
        for queue in self.groups.values_mut() {
            if queue.bindings.iter().any(|b| b.matches(envelope)) {
                routed = true;
                queue.waiting.push_back(envelope.clone());
                queue.deliver();
            }
        }
        if envelope.mandatory && !routed {
            Settlement::Unroutable
        } else {
            Settlement::Confirmed
        }
    }

    fn join(
        &mut self,
        group: Group,
        sender: mpsc::UnboundedSender<Delivery>,
        broker: &Arc<Mutex<Self>>,
    ) -> u64 {
        self.members += 1;
        let id = self.members;
        let acknowledge = MemberAcknowledge {
            broker: broker.clone(),
            group: group.name.clone(),
            member: id,
        };
        let queue = self.groups.entry(group.name).or_default();
        queue.bindings.extend(group.bindings);
        let member = Member {
            sender,
            prefetch: group.prefetch.max(1).into(),
            unacknowledged: BTreeMap::new(),
            last_tag: 0,
            acknowledge: Arc::new(acknowledge),
        };
        queue.members.insert(id, member);
        queue.deliver();
        id
    }

    /// What the member has not acknowledged goes to the others, before what came later.
    fn leave(&mut self, group: &str, member: u64) {
        let Some(queue) = self.groups.get_mut(group) else {
            return;
        };
        if let Some(member) = queue.members.remove(&member) {
            for envelope in member.unacknowledged.into_values().rev() {
                queue.waiting.push_front(envelope);
            }
            queue.deliver();
        }
    }

    fn acknowledge(&mut self, group: &str, member: u64, tags: &[u64]) {
        let Some(queue) = self.groups.get_mut(group) else {
            return;
        };
        if let Some(member) = queue.members.get_mut(&member) {
            for tag in tags {
                member.unacknowledged.remove(tag);
            }
            queue.deliver();
        }
    }
}

impl Queue {
    /// Gives waiting messages to the members that have room, the least busy first.
    fn deliver(&mut self) {
        while !self.waiting.is_empty() {
            let Some(member) = self
                .members
                .values_mut()
                .filter(|member| member.unacknowledged.len() < member.prefetch)
                .min_by_key(|member| member.unacknowledged.len())
            else {
                return;
            };
            if let Some(envelope) = self.waiting.pop_front() {
                member.take(envelope);
            }
        }
    }
}

impl Member {
    fn take(&mut self, envelope: Arc<Envelope>) {
        self.last_tag += 1;
        self.unacknowledged.insert(self.last_tag, envelope.clone());
        // A member that no longer listens is about to leave, and gives the message back then.
        let _ = self.sender.send(Delivery {
            content: Ok(envelope),
            given_up: false,
            receipt: Receipt::new(self.last_tag, self.acknowledge.clone()),
        });
    }
}

#[derive(Debug)]
struct MemberAcknowledge {
    broker: Arc<Mutex<Broker>>,
    group: String,
    member: u64,
}

#[async_trait]
impl Acknowledge for MemberAcknowledge {
    async fn acknowledge(&self, tags: &[u64]) {
        self.broker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .acknowledge(&self.group, self.member, tags);
    }
}

impl Binding {
    fn matches(&self, envelope: &Envelope) -> bool {
        self.kind == envelope.kind
            && match self.kind {
                Kind::Command | Kind::Query => self.pattern == envelope.name,
                Kind::Event => {
                    let pattern: Vec<&str> = self.pattern.split('.').collect();
                    let name: Vec<&str> = envelope.name.split('.').collect();
                    topic_matches(&pattern, &name)
                }
            }
    }
}

/// The rules of an AMQP topic exchange.
fn topic_matches(pattern: &[&str], name: &[&str]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ["#", rest @ ..] => (0..=name.len()).any(|skipped| topic_matches(rest, &name[skipped..])),
        [word, rest @ ..] => match name {
            [first, others @ ..] => (*word == "*" || word == first) && topic_matches(rest, others),
            [] => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_on_a_topic_exchange() {
        let matches = |pattern: &str, name: &str| {
            let pattern: Vec<&str> = pattern.split('.').collect();
            let name: Vec<&str> = name.split('.').collect();
            topic_matches(&pattern, &name)
        };
        assert!(matches(
            "catalog.product.created",
            "catalog.product.created"
        ));
        assert!(matches("catalog.*.created", "catalog.product.created"));
        assert!(matches("catalog.#", "catalog.product.created"));
        assert!(matches("#", "anything"));
        assert!(matches("catalog.#", "catalog"));
        assert!(!matches("catalog.*", "catalog.product.created"));
        assert!(!matches("catalog.product", "catalog.product.created"));
        assert!(!matches("identity.#", "catalog.product.created"));
    }
}
