//! Which destinations the broker refuses, and when each is probed.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::refused::Destination;
use crate::transport::Refusal;

/// From a refusal to the first probe. The pause doubles with each probe that is refused.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Each probe is one more copy for every queue that does take the message, so probes are rare; and
/// messages wait that long at most after the broker takes them again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After the connection failed, which says nothing about the destination.
const CONNECTION_PAUSE: Duration = Duration::from_secs(1);

/// A circuit breaker for each destination that is refused. While it is open, messages of the
/// destination are stored without being published. A probe publishes one of them; when it is
/// confirmed, twice as many follow at once, and so on until none is left.
#[derive(Debug)]
pub(super) struct Breakers {
    open: HashMap<Destination, Breaker>,
    most_at_once: usize,
}

#[derive(Debug)]
struct Breaker {
    refusal: Refusal,
    /// Refused probes since the last confirmed one.
    refused: u32,
    at_once: usize,
    /// When to publish next; `None` while messages of the destination are in flight.
    probe_at: Option<Instant>,
}

impl Breakers {
    pub(super) fn new(most_at_once: usize) -> Self {
        Self {
            open: HashMap::new(),
            most_at_once: most_at_once.max(1),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Why the destination is refused, if it is.
    pub(super) fn refusal(&self, destination: &Destination) -> Option<&Refusal> {
        self.open.get(destination).map(|breaker| &breaker.refusal)
    }

    /// The destination was refused: pauses before the next probe.
    pub(super) fn refuse(&mut self, destination: Destination, refusal: Refusal, now: Instant) {
        let breaker = self.open.entry(destination).or_insert_with(|| Breaker {
            refusal: refusal.clone(),
            refused: 0,
            at_once: 1,
            probe_at: None,
        });
        let factor = 2_u32.saturating_pow(breaker.refused.min(31));
        let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
        breaker.refused = breaker.refused.saturating_add(1);
        breaker.refusal = refusal;
        breaker.at_once = 1;
        breaker.probe_at = Some(now + pause);
    }

    /// Every message in flight of the destination was settled, and none was refused.
    pub(super) fn confirm(&mut self, destination: &Destination, now: Instant) {
        if let Some(breaker) = self.open.get_mut(destination) {
            breaker.refused = 0;
            breaker.at_once = breaker.at_once.saturating_mul(2).min(self.most_at_once);
            breaker.probe_at = Some(now);
        }
    }

    /// One of the messages in flight was refused for what it is itself: goes on one by one.
    pub(super) fn go_on(&mut self, destination: &Destination, now: Instant) {
        if let Some(breaker) = self.open.get_mut(destination) {
            breaker.at_once = 1;
            breaker.probe_at = Some(now);
        }
    }

    /// It is unknown whether the messages in flight of the destination arrived.
    pub(super) fn postpone(&mut self, destination: &Destination, now: Instant) {
        if let Some(breaker) = self.open.get_mut(destination) {
            breaker.probe_at = Some(now + CONNECTION_PAUSE);
        }
    }

    /// The next destination to publish to, and how many messages. It is in flight from then on.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Destination, usize)> {
        let due = self
            .open
            .iter_mut()
            .filter(|(_, breaker)| breaker.probe_at.is_some_and(|at| at <= now))
            .min_by_key(|(_, breaker)| breaker.probe_at)?;
        due.1.probe_at = None;
        Some((due.0.clone(), due.1.at_once))
    }

    /// When [`next`](Self::next) will give a destination.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.open
            .values()
            .filter_map(|breaker| breaker.probe_at)
            .min()
    }

    /// No message of the destination is left.
    pub(super) fn close(&mut self, destination: &Destination) {
        self.open.remove(destination);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;
    use crate::transport::RefusalScope;

    fn destination() -> Destination {
        Destination {
            kind: Kind::Event,
            name: "shop.order.placed".to_owned(),
        }
    }

    fn refusal() -> Refusal {
        Refusal {
            error: "nacked".into(),
            reason: "full".to_owned(),
            scope: RefusalScope::Destination,
        }
    }

    #[test]
    fn the_pause_between_refused_probes_doubles_up_to_half_a_minute() {
        let begun = Instant::now();
        let mut breakers = Breakers::new(512);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            breakers.refuse(destination(), refusal(), begun);
            let at = breakers.next_at().unwrap_or(begun);
            pauses.push((at - begun).as_secs());
            assert!(breakers.next(at - Duration::from_millis(1)).is_none());
            assert_eq!(breakers.next(at), Some((destination(), 1)));
            assert!(breakers.next(at).is_none(), "one probe at a time");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn confirmed_probes_let_twice_as_many_follow_and_a_refusal_begins_anew() {
        let now = Instant::now();
        let mut breakers = Breakers::new(5);
        breakers.refuse(destination(), refusal(), now);
        let mut at_once = Vec::new();
        for _ in 0..5 {
            breakers.confirm(&destination(), now);
            at_once.extend(breakers.next(now).map(|(_, at_once)| at_once));
        }
        assert_eq!(at_once, [2, 4, 5, 5, 5]);
        breakers.refuse(destination(), refusal(), now);
        assert_eq!(breakers.next_at(), Some(now + FIRST_PAUSE));
        breakers.close(&destination());
        assert!(breakers.is_empty());
    }
}
