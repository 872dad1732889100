//! When a failed message is tried again.

use std::error::Error;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use uuid::Uuid;

/// What happens to a message whose handler failed with an error that may pass.
///
/// First it is tried again at once. Then it is stored and acknowledged, so that the messages
/// behind it go on, and tried again after a delay that doubles each time. After the last attempt
/// it goes to the dead letters.
///
/// ```
/// use event_bus::RetryPolicy;
///
/// let policy = RetryPolicy {
///     delayed: 5,
///     ..RetryPolicy::default()
/// }
/// // A body that makes no sense today makes none tomorrow.
/// .rejecting::<std::num::ParseIntError>();
/// ```
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Tries right after the first one failed. Default 2.
    pub immediate: u32,
    /// Attempts from the store, after those. Default 10, which with the default delays takes 9 to
    /// 17 minutes.
    pub delayed: u32,
    /// The delay before the first try from the store. Default 1 s.
    pub first_delay: Duration,
    /// The longest delay. Default 10 min.
    pub max_delay: Duration,
    /// Which errors can't pass; see [`rejecting`](Self::rejecting). Default none.
    pub rejected: Vec<fn(&(dyn Error + 'static)) -> bool>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            immediate: 2,
            delayed: 10,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(600),
            rejected: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// Errors of this type, or caused by one of this type, go to the dead letters at once, as if
    /// the handler had said [`HandlerError::reject`](crate::HandlerError::reject).
    #[must_use]
    pub fn rejecting<E: Error + 'static>(mut self) -> Self {
        self.rejected.push(<dyn Error>::is::<E>);
        self
    }

    /// Whether an error, or one of its causes, is of a type that can't pass.
    pub(crate) fn rejects(&self, error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if self.rejected.iter().any(|is_of_type| is_of_type(error)) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// How many attempts there are in all, at most [`u32::MAX`].
    pub fn attempts(&self) -> u32 {
        self.immediate
            .saturating_add(self.delayed)
            .saturating_add(1)
    }

    /// How long to wait after the given number of failed attempts, or `None` when it was the last.
    ///
    /// `jitter` in 0..=1 spreads messages that failed together over the upper half of the delay.
    pub(crate) fn delay_after(&self, attempts: u32, jitter: f64) -> Option<Duration> {
        if attempts >= self.attempts() {
            return None;
        }
        let first_stored = self.immediate.saturating_add(1);
        let doublings = attempts.saturating_sub(first_stored).min(31);
        let delay = self
            .first_delay
            .saturating_mul(1 << doublings)
            .min(self.max_delay);
        // Subtracted, since a product with the longest duration could overflow.
        Some(delay - delay.mul_f64(0.5 - 0.5 * jitter.clamp(0.0, 1.0)))
    }
}

/// A number in 0..=1 that differs from message to message and from attempt to attempt.
pub(crate) fn jitter(message_id: &Uuid, attempts: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (message_id, attempts).hash(&mut hasher);
    f64::from(hasher.finish() as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_end_with_the_last_attempt() {
        let policy = RetryPolicy {
            immediate: 2,
            delayed: 4,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(3),
            rejected: Vec::new(),
        };
        let delays: Vec<_> = (3..=7).map(|n| policy.delay_after(n, 1.0)).collect();
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(
            delays,
            [seconds(1), seconds(2), seconds(3), seconds(3), None]
        );
    }

    #[test]
    fn extreme_policies_have_extreme_delays_and_never_overflow() {
        let policy = RetryPolicy {
            immediate: u32::MAX,
            delayed: u32::MAX,
            first_delay: Duration::MAX,
            max_delay: Duration::MAX,
            rejected: Vec::new(),
        };
        assert_eq!(policy.attempts(), u32::MAX);
        assert_eq!(policy.delay_after(u32::MAX - 1, 1.0), Some(Duration::MAX));
        let forever = RetryPolicy {
            delayed: u32::MAX,
            ..RetryPolicy::default()
        };
        assert_eq!(forever.attempts(), u32::MAX);
        let longest = Some(forever.max_delay);
        assert_eq!(forever.delay_after(1_000_000, 1.0), longest);
        let patient = RetryPolicy {
            first_delay: Duration::MAX,
            max_delay: Duration::MAX,
            ..RetryPolicy::default()
        };
        for jitter in [0.0, 0.5, 1.0] {
            assert!(patient.delay_after(12, jitter) >= Some(Duration::MAX / 3));
        }
    }

    #[test]
    fn an_error_is_rejected_for_its_type_or_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("no order number")]
        struct Unreadable(#[from] std::num::ParseIntError);

        let policy = RetryPolicy::default().rejecting::<std::num::ParseIntError>();
        let cause = "x".parse::<u8>().expect_err("no number");
        assert!(policy.rejects(&cause));
        assert!(policy.rejects(&Unreadable(cause)));
        assert!(!policy.rejects(&std::fmt::Error));
    }

    #[test]
    fn jitter_is_spread_over_its_range() {
        let values: Vec<f64> = (0..100).map(|_| jitter(&Uuid::now_v7(), 3)).collect();
        assert!(values.iter().any(|value| *value < 0.3));
        assert!(values.iter().any(|value| *value > 0.7));
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
    }

    #[test]
    fn jitter_never_takes_more_than_half_of_the_delay() {
        let policy = RetryPolicy::default();
        let shortest = policy.delay_after(3, 0.0);
        assert_eq!(shortest, Some(policy.first_delay / 2));
    }
}
