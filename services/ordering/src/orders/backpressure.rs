//! Orders slow down while their messages wait.
//!
//! Writing an order takes less than what follows from it, so under full load messages would pile up
//! in the outbox. Therefore a writer pauses between two sets, the longer, the longer the first
//! message of the outbox has been waiting, up to 250 ms. Answers take longer then, which slows down
//! whoever waits for them; whoever does not fills the queue of orders, and is told to come again.
//!
//! While the broker is away there are no pauses. That is what the outbox is for, and slower orders
//! would not bring the broker back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use event_bus::EventBus;
use tokio::time::Instant;

/// What messages may wait in the outbox before orders are slowed down.
const TOLERATED: Duration = Duration::from_millis(250);
/// Of what goes beyond that, the part that a pause takes. More would make the rate swing.
const SHARE: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How often the outbox is looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(1);

const PAUSE: &str = "ordering_orders_pause_seconds";

/// How long to pause between two sets of orders; for all writers.
#[derive(Debug)]
pub(super) struct Backpressure {
    bus: EventBus,
    last_look: Mutex<Option<Look>>,
}

/// When somebody looked, and for how long the first message had been waiting.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    waiting: Duration,
}

impl Backpressure {
    pub(super) fn new(bus: EventBus) -> Self {
        metrics::describe_histogram!(
            PAUSE,
            metrics::Unit::Seconds,
            "Pauses between sets of orders, while the outbox is behind."
        );
        Self {
            bus,
            last_look: Mutex::default(),
        }
    }

    /// Waits as long as the outbox is behind. To be called when a set is answered, so that an order
    /// that comes alone does not wait for the look at it.
    pub(super) async fn wait(&self) {
        // Whoever has an answer now passes it on first.
        tokio::task::yield_now().await;
        if !self.bus.health().broker_connected {
            return;
        }
        let pause = pause(self.look().await);
        if !pause.is_zero() {
            metrics::histogram!(PAUSE).record(pause);
            tokio::time::sleep(pause).await;
        }
    }

    /// For how long the first message has been waiting, now or a moment ago.
    async fn look(&self) -> Duration {
        let now = Instant::now();
        let last = *self
            .last_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = last.filter(|look| look.at + LOOK_INTERVAL > now) {
            return look.waiting;
        }
        // A database that is away is heard of with the next set.
        let look = tokio::time::timeout(LONGEST_LOOK, self.bus.outbox_age());
        let waiting = look.await.map_or(Duration::ZERO, Result::unwrap_or_default);
        *self
            .last_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Look { at: now, waiting });
        waiting
    }
}

fn pause(waiting: Duration) -> Duration {
    (waiting.saturating_sub(TOLERATED) / SHARE).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_with_what_waits_and_ends_somewhere() {
        let millis = Duration::from_millis;
        assert_eq!(pause(Duration::ZERO), Duration::ZERO);
        assert_eq!(pause(TOLERATED), Duration::ZERO);
        assert_eq!(pause(millis(330)), millis(10));
        assert_eq!(pause(millis(1050)), millis(100));
        assert_eq!(pause(Duration::from_secs(3600)), LONGEST_PAUSE);
    }
}
