//! How many rows are published at once.

/// Full batches, until one fails for a reason that may be any of its messages. Then one message at
/// a time, apart from all others, so that the culprit is known; and with each success twice as
/// many, until batches are full again.
#[derive(Debug)]
pub(super) struct Pace {
    full: usize,
    limit: usize,
    is_careful: bool,
}

impl Pace {
    pub(super) fn new(full: usize) -> Self {
        let full = full.max(1);
        Self {
            full,
            limit: full,
            is_careful: false,
        }
    }

    /// The most rows to publish at once.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether messages are published apart from all others, one batch at a time.
    pub(super) fn is_careful(&self) -> bool {
        self.is_careful
    }

    pub(super) fn slow_down(&mut self) {
        self.limit = 1;
        self.is_careful = true;
    }

    pub(super) fn speed_up(&mut self) {
        self.limit = self.limit.saturating_mul(2).min(self.full);
        self.is_careful = self.is_careful && self.limit < self.full;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_from_one_message_until_they_are_full() {
        let mut pace = Pace::new(6);
        pace.slow_down();
        let mut limits = Vec::new();
        while pace.is_careful() {
            limits.push(pace.limit());
            pace.speed_up();
        }
        assert_eq!(limits, [1, 2, 4]);
        assert_eq!(pace.limit(), 6);
    }

    #[test]
    fn batches_of_one_message_come_back_to_full_speed_as_well() {
        let mut pace = Pace::new(0);
        assert!(!pace.is_careful());
        pace.slow_down();
        assert!(pace.is_careful());
        pace.speed_up();
        assert_eq!((pace.limit(), pace.is_careful()), (1, false));
    }
}
