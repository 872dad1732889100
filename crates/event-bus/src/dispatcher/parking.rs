//! Deliveries whose claim another transaction holds.
//!
//! A message is delivered again while its handler still runs when the connection of that run was
//! lost, when the broker's consumer timeout has passed, or when a process has stopped answering.
//! The second delivery can only be settled when the first run has ended. Until then it waits here
//! with its receipt unacknowledged, so the group's prefetch bounds how many there are, and the
//! workers go on with other messages.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Dispatcher;
use crate::envelope::Envelope;
use crate::inbox::{self, ClaimError};
use crate::signals;
use crate::transport::Delivery;

/// Between two looks whether a claim is free: from the first to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where deliveries wait whose claim is held elsewhere.
pub(crate) struct Parking {
    arriving: Lane,
    /// Those whose claim was free a moment ago, for the workers.
    leaving: Lane,
}

/// A queue that takes from many and gives to one at a time.
struct Lane {
    sender: mpsc::UnboundedSender<Delivery>,
    receiver: Mutex<mpsc::UnboundedReceiver<Delivery>>,
}

impl Lane {
    fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let receiver = Mutex::new(receiver);
        Self { sender, receiver }
    }

    fn send(&self, delivery: Delivery) {
        // The receiver is kept beside the sender.
        let _ = self.sender.send(delivery);
    }
}

impl Default for Parking {
    fn default() -> Self {
        Self {
            arriving: Lane::new(),
            leaving: Lane::new(),
        }
    }
}

impl fmt::Debug for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking").finish_non_exhaustive()
    }
}

impl Parking {
    /// Puts a delivery aside until its claim is free.
    pub(super) fn park(&self, delivery: Delivery) {
        signals::parked();
        self.arriving.send(delivery);
    }

    /// Receives deliveries whose claims are free, up to `most`. Cancel safe.
    pub(super) async fn recv_many(&self, deliveries: &mut Vec<Delivery>, most: usize) -> usize {
        let mut leaving = self.leaving.receiver.lock().await;
        leaving.recv_many(deliveries, most).await
    }
}

struct Parked {
    delivery: Delivery,
    look_at: Instant,
    pause: Duration,
}

/// Gives deliveries back to the workers when their claims are free, until shut down. What is still
/// parked then is delivered again.
///
/// One task looks after all of them and uses one connection at a time. It runs no handler.
pub(crate) async fn run(dispatcher: Arc<Dispatcher>, shutdown: CancellationToken) {
    let mut arriving = dispatcher.parking.arriving.receiver.lock().await;
    let mut parked: Vec<Parked> = Vec::new();
    loop {
        let next = parked.iter().map(|parked| parked.look_at).min();
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(delivery) = arriving.recv() => parked.push(Parked {
                delivery,
                look_at: Instant::now() + FIRST_PAUSE,
                pause: FIRST_PAUSE,
            }),
            () = due => {
                let now = Instant::now();
                let due = parked.iter().position(|parked| parked.look_at <= now);
                if let Some(due) = due {
                    let due = parked.swap_remove(due);
                    parked.extend(dispatcher.look_at_parked(due).await);
                }
            }
        }
    }
}

impl Dispatcher {
    /// Lets a delivery go if it need not wait any longer; returns it otherwise.
    async fn look_at_parked(&self, mut parked: Parked) -> Option<Parked> {
        let Ok(envelope) = &parked.delivery.content else {
            return None;
        };
        // It will be delivered anew, perhaps to another instance.
        if !parked.delivery.receipt.is_open() {
            return None;
        }
        if self.is_claim_free(envelope).await {
            self.parking.leaving.send(parked.delivery);
            return None;
        }
        parked.pause = (parked.pause * 2).min(LONGEST_PAUSE);
        parked.look_at = Instant::now() + parked.pause;
        Some(parked)
    }

    /// Whether no other transaction holds a claim for the message at this moment.
    async fn is_claim_free(&self, envelope: &Envelope) -> bool {
        let handlers = self.registry.handlers_of(&envelope.name);
        let claims: Vec<_> = handlers.map(|h| (envelope.id, h.name)).collect();
        let Ok(mut work) = self.begin().await else {
            return false;
        };
        let claimed = inbox::claim(&mut work, &claims).await;
        let rolled_back = work.rollback().await;
        match claimed {
            Ok(_) => rolled_back.is_ok(),
            Err(ClaimError::HeldElsewhere | ClaimError::Database(_)) => false,
        }
    }
}
