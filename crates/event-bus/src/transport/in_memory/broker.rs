//! Queues in memory, with the rules of those that the other transport has on its broker.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::envelope::Envelope;
use crate::message::Kind;
use crate::partition::bucket_of;
use crate::pattern;
use crate::transport::{Acknowledge, Binding, Delivery, Group, Receipt, Settlement};

#[derive(Debug, Default)]
pub(super) struct Broker {
    groups: HashMap<String, Queues>,
    members: u64,
}

/// The queues of a group: one, or one for each partition. Like durable queues they stay when the
/// last member leaves.
#[derive(Debug)]
struct Queues {
    bindings: BTreeSet<Binding>,
    queues: Vec<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whether it delivers to one member at a time.
    is_partition: bool,
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

/// Where a member sits.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    group: String,
    queue: usize,
    member: u64,
}

impl Broker {
    pub(super) fn route(&mut self, envelope: &Arc<Envelope>) -> Settlement {
        let mut routed = false;
        for group in self.groups.values_mut() {
            if group.bindings.iter().any(|b| b.matches(envelope)) {
                routed = true;
                let queue = group.queue_for(envelope);
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

    pub(super) fn join(
        &mut self,
        group: Group,
        sender: mpsc::UnboundedSender<Delivery>,
        broker: &Arc<Mutex<Self>>,
    ) -> Seat {
        self.members += 1;
        let seat = Seat {
            group: group.name.clone(),
            queue: group
                .partition
                .map_or(0, |partition| partition.index.into()),
            member: self.members,
        };
        let acknowledge = MemberAcknowledge {
            broker: broker.clone(),
            seat: seat.clone(),
        };
        let member = Member {
            sender,
            prefetch: group.prefetch.max(1).into(),
            unacknowledged: BTreeMap::new(),
            last_tag: 0,
            acknowledge: Arc::new(acknowledge),
        };
        let queues = self.groups.entry(group.name.clone());
        let queues = queues.or_insert_with(|| Queues::of(&group));
        queues.bindings.extend(group.bindings);
        if let Some(queue) = queues.queues.get_mut(seat.queue) {
            queue.members.insert(seat.member, member);
            queue.deliver();
        }
        seat
    }

    /// What the member has not acknowledged goes to the others, before what came later.
    pub(super) fn leave(&mut self, seat: &Seat) {
        let Some(queue) = self.queue(seat) else {
            return;
        };
        if let Some(member) = queue.members.remove(&seat.member) {
            for envelope in member.unacknowledged.into_values().rev() {
                queue.waiting.push_front(envelope);
            }
            queue.deliver();
        }
    }

    pub(super) fn unbind(&mut self, group: &Group) {
        if let Some(queues) = self.groups.get_mut(&group.name) {
            for binding in &group.bindings {
                queues.bindings.remove(binding);
            }
        }
    }

    /// Removes a group that is empty and has no members. Says whether it is gone.
    pub(super) fn remove(&mut self, group: &str) -> bool {
        let is_idle = |queue: &Queue| queue.waiting.is_empty() && queue.members.is_empty();
        if let Some(queues) = self.groups.get(group)
            && !queues.queues.iter().all(is_idle)
        {
            return false;
        }
        self.groups.remove(group);
        true
    }

    /// How many messages of a group wait; `None` if there is no such group.
    pub(super) fn depth(&self, group: &str) -> Option<u64> {
        let queues = self.groups.get(group)?.queues.iter();
        Some(queues.map(|queue| queue.waiting.len() as u64).sum())
    }

    fn queue(&mut self, seat: &Seat) -> Option<&mut Queue> {
        let queues = &mut self.groups.get_mut(&seat.group)?.queues;
        queues.get_mut(seat.queue)
    }

    fn acknowledge(&mut self, seat: &Seat, tags: &[u64]) {
        let Some(queue) = self.queue(seat) else {
            return;
        };
        if let Some(member) = queue.members.get_mut(&seat.member) {
            for tag in tags {
                member.unacknowledged.remove(tag);
            }
            queue.deliver();
        }
    }

    fn is_member(&mut self, seat: &Seat) -> bool {
        self.queue(seat)
            .is_some_and(|queue| queue.members.contains_key(&seat.member))
    }
}

impl Queues {
    fn of(group: &Group) -> Self {
        let count = group.partition.map_or(1, |partition| partition.of.max(1));
        let queue = || Queue {
            is_partition: group.partition.is_some(),
            ..Queue::default()
        };
        Self {
            bindings: BTreeSet::new(),
            queues: (0..count).map(|_| queue()).collect(),
        }
    }

    fn queue_for(&mut self, envelope: &Envelope) -> &mut Queue {
        let bucket = envelope.partition_key.as_deref().map_or(0, bucket_of);
        let index = usize::from(bucket) % self.queues.len();
        &mut self.queues[index]
    }
}

impl Queue {
    /// Gives waiting messages to the members that have room, the least busy first.
    fn deliver(&mut self) {
        let eligible = if self.is_partition { 1 } else { usize::MAX };
        while !self.waiting.is_empty() {
            let Some(member) = self
                .members
                .values_mut()
                .take(eligible)
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
    seat: Seat,
}

#[async_trait]
impl Acknowledge for MemberAcknowledge {
    async fn acknowledge(&self, tags: &[u64]) {
        self.broker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .acknowledge(&self.seat, tags);
    }

    fn is_open(&self) -> bool {
        self.broker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_member(&self.seat)
    }
}

impl Binding {
    pub(crate) fn matches(&self, envelope: &Envelope) -> bool {
        self.kind == envelope.kind
            && match self.kind {
                Kind::Command | Kind::Query => self.pattern == envelope.name,
                Kind::Event => pattern::matches(&self.pattern, &envelope.name),
            }
    }
}
