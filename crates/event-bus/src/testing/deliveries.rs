//! Deliveries on their way through a [`TestTransport`](super::TestTransport).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedSender, WeakUnboundedSender};
use tokio_util::sync::CancellationToken;

use super::faults::Fault;
use super::transport::Shared;
use crate::transport::{Acknowledge, Delivery, Group, Receipt, Subscription, Transport};

/// Passes on what a member of a group is delivered.
pub(super) struct Forwarding<T> {
    pub(super) transport: Arc<T>,
    pub(super) shared: Arc<Shared>,
    pub(super) group: Group,
    pub(super) sender: UnboundedSender<Delivery>,
    pub(super) bound: CancellationToken,
}

impl<T: Transport> Forwarding<T> {
    /// Takes part, as soon as there is a connection.
    pub(super) async fn begin(&self) -> (CancellationToken, Subscription) {
        let lost = self.shared.faults.connection().await;
        let subscription = self.transport.subscribe(self.group.clone()).await;
        self.shared.record().bind(&self.group);
        if subscription.bound().is_cancelled() {
            self.bound.cancel();
        }
        (lost, subscription)
    }

    /// Passes on what comes, and takes part anew after each loss of the connection, until the
    /// transport is closed.
    pub(super) async fn run(self, begun: Option<(CancellationToken, Subscription)>) {
        let mut begun = begun;
        loop {
            let (lost, mut subscription) = match begun.take() {
                Some(begun) => begun,
                None => self.begin().await,
            };
            let is_bound = subscription.bound();
            let channel = Arc::new_cyclic(|channel| Channel {
                shared: self.shared.clone(),
                group: self.group.name.clone(),
                sender: self.sender.downgrade(),
                lost: lost.clone(),
                unanswered: Mutex::default(),
                this: channel.clone(),
            });
            loop {
                tokio::select! {
                    () = lost.cancelled() => break,
                    () = is_bound.cancelled(), if !self.bound.is_cancelled() => self.bound.cancel(),
                    delivery = subscription.deliveries.recv() => match delivery {
                        Some(delivery) => channel.pass_on(delivery),
                        None => return,
                    },
                }
            }
        }
    }
}

/// What was delivered between two losses of the connection.
#[derive(Debug)]
struct Channel {
    shared: Arc<Shared>,
    group: String,
    /// Weak, so that a receipt that is kept does not keep the deliveries from ending.
    sender: WeakUnboundedSender<Delivery>,
    lost: CancellationToken,
    unanswered: Mutex<Unanswered>,
    /// For the receipts.
    this: Weak<Self>,
}

#[derive(Debug, Default)]
struct Unanswered {
    last_tag: u64,
    deliveries: BTreeMap<u64, Copies>,
}

#[derive(Debug)]
struct Copies {
    delivery: Delivery,
    /// How many acknowledgements it takes.
    count: usize,
}

impl Channel {
    fn pass_on(&self, delivery: Delivery) {
        let is_doubled = self.shared.faults.strikes(Fault::Doubled);
        let count = if is_doubled { 2 } else { 1 };
        let mut unanswered = self.unanswered();
        unanswered.last_tag += 1;
        let tag = unanswered.last_tag;
        for _ in 0..count {
            self.send(tag, &delivery);
        }
        let copies = Copies { delivery, count };
        unanswered.deliveries.insert(tag, copies);
    }

    fn send(&self, tag: u64, delivery: &Delivery) {
        let (Some(sender), Some(channel)) = (self.sender.upgrade(), self.this.upgrade()) else {
            return;
        };
        // If nobody takes it any more, the subscription is about to end.
        let _ = sender.send(Delivery {
            content: delivery.content.clone(),
            given_up: delivery.given_up,
            receipt: Receipt::new(tag, channel),
        });
    }

    /// Counts acknowledgements, and gives back the deliveries that have all of theirs.
    fn answer(&self, tags: &[u64]) -> Vec<Delivery> {
        let mut unanswered = self.unanswered();
        let mut answered = Vec::new();
        for tag in tags {
            let Some(copies) = unanswered.deliveries.get_mut(tag) else {
                continue;
            };
            if self.shared.faults.strikes(Fault::AcknowledgementIsLost) {
                self.send(*tag, &copies.delivery);
                continue;
            }
            copies.count -= 1;
            if copies.count == 0 {
                let copies = unanswered.deliveries.remove(tag);
                answered.extend(copies.map(|copies| copies.delivery));
            }
        }
        answered
    }

    fn unanswered(&self) -> MutexGuard<'_, Unanswered> {
        let unanswered = self.unanswered.lock();
        unanswered.unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Acknowledge for Channel {
    async fn acknowledge(&self, tags: &[u64]) {
        if self.lost.is_cancelled() {
            return;
        }
        let answered = self.answer(tags);
        let receipts: Vec<_> = answered.iter().map(|d| d.receipt.clone()).collect();
        Receipt::acknowledge(&receipts).await;
        for envelope in answered.iter().filter_map(|d| d.content.as_ref().ok()) {
            self.shared.record().settled(&self.group, envelope.id);
        }
    }

    fn is_open(&self) -> bool {
        let unanswered = self.unanswered();
        let first = unanswered.deliveries.values().next();
        !self.lost.is_cancelled() && first.is_none_or(|first| first.delivery.receipt.is_open())
    }
}
