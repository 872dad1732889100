//! The conditions that a leader has raised.

use std::collections::BTreeSet;

use crate::conditions::Conditions;

/// Conditions that are withdrawn with their owner: the next leader raises what still holds.
#[derive(Debug)]
pub(super) struct Problems {
    conditions: Conditions,
    raised: BTreeSet<String>,
}

impl Problems {
    pub(super) fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            raised: BTreeSet::new(),
        }
    }

    pub(super) fn raise(&mut self, subject: &str, reason: impl Into<String>) {
        self.conditions.raise(subject, reason);
        if !self.raised.contains(subject) {
            self.raised.insert(subject.to_owned());
        }
    }

    pub(super) fn is_raised(&self, subject: &str) -> bool {
        self.raised.contains(subject)
    }

    pub(super) fn clear(&mut self, subject: &str) {
        if self.raised.remove(subject) {
            self.conditions.clear(subject);
        }
    }
}

impl Drop for Problems {
    fn drop(&mut self) {
        for subject in &self.raised {
            self.conditions.withdraw(subject);
        }
    }
}
