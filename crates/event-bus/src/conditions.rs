//! Conditions that degrade a bus: what [`EventBus::health`](crate::EventBus::health) lists, and
//! where a fault that repeats is logged twice, when it begins and when it ends, instead of at every
//! attempt.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The conditions of one bus or one transport. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions(Arc<Mutex<BTreeMap<String, Condition>>>);

/// A condition that holds now.
#[derive(Debug)]
struct Condition {
    reason: String,
    /// How often it was raised since it began.
    raised: u64,
    began: Instant,
}

/// Something that keeps a bus from doing part of its work. Its `Display` is a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthProblem {
    /// What is affected, such as `queue stock` or `relay`.
    pub subject: String,
    /// What is wrong, and what to do where that is known.
    pub reason: String,
}

impl fmt::Display for HealthProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

impl Conditions {
    /// Notes that a condition holds. It is logged when it begins; raising it again only counts and
    /// replaces the reason.
    pub(crate) fn raise(&self, subject: &str, reason: impl Into<String>) {
        let reason = reason.into();
        let mut conditions = self.lock();
        if let Some(condition) = conditions.get_mut(subject) {
            condition.raised += 1;
            condition.reason = reason;
            return;
        }
        tracing::warn!(subject, reason, "the bus is degraded");
        let condition = Condition {
            reason,
            raised: 1,
            began: Instant::now(),
        };
        conditions.insert(subject.to_owned(), condition);
    }

    /// Notes that a condition no longer holds. Does nothing unless it was raised.
    pub(crate) fn clear(&self, subject: &str) {
        if let Some(condition) = self.lock().remove(subject) {
            tracing::info!(
                subject,
                reason = condition.reason,
                occurrences = condition.raised,
                lasted = ?condition.began.elapsed(),
                "the bus has recovered"
            );
        }
    }

    /// Stops listing a condition without a word on whether it still holds: another instance takes
    /// over what it is about.
    pub(crate) fn withdraw(&self, subject: &str) {
        self.lock().remove(subject);
    }

    /// The conditions that hold now, by subject.
    pub(crate) fn problems(&self) -> Vec<HealthProblem> {
        let conditions = self.lock();
        let problems = conditions.iter().map(|(subject, condition)| HealthProblem {
            subject: subject.clone(),
            reason: condition.reason.clone(),
        });
        problems.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Condition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_listed_with_its_latest_reason_until_it_is_cleared() {
        let conditions = Conditions::default();
        conditions.raise("queue stock", "the queue is full");
        conditions.raise("queue stock", "the queue was deleted");
        let problems = conditions.clone().problems();
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["queue stock: the queue was deleted"]);
        conditions.clear("queue stock");
        conditions.clear("queue stock");
        assert_eq!(conditions.problems(), []);
    }
}
