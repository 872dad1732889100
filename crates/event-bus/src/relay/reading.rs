//! From where the outbox is read.

use std::time::Duration;

use tokio::time::Instant;

/// How often it is read from its very start: for rows that were committed long after rows behind
/// them, and for messages whose publishing failed.
const START_OVER_INTERVAL: Duration = Duration::from_millis(100);

/// Where the next rows are.
///
/// Positions are given before the commit, so a row may appear behind rows that were read already.
/// Nearly all do within milliseconds. So each look for new rows begins where reading stood at least
/// one [`START_OVER_INTERVAL`] ago, and one look every interval at the very start, past the remains
/// of all that was deleted.
#[derive(Debug)]
pub(super) struct Reading {
    /// What is read next is after this position.
    cursor: i64,
    /// Where looks for new rows begin.
    behind: i64,
    /// Where they will begin after the next start: the last position read before the last one.
    mark: i64,
    /// The last position that was read.
    newest: i64,
    start_over_at: Option<Instant>,
}

impl Reading {
    pub(super) fn new() -> Self {
        Self {
            cursor: 0,
            behind: 0,
            mark: 0,
            newest: 0,
            start_over_at: None,
        }
    }

    /// The position after which to read.
    pub(super) fn next(&mut self, now: Instant) -> i64 {
        if self.start_over_at.is_none_or(|at| at <= now) {
            self.start_over_at = Some(now + START_OVER_INTERVAL);
            self.cursor = 0;
            self.behind = std::mem::replace(&mut self.mark, self.newest);
        }
        self.cursor
    }

    /// Takes note of the last position that was read, and whether there is more after it.
    pub(super) fn has_read(&mut self, last: Option<i64>, more: bool) {
        self.newest = self.newest.max(last.unwrap_or(0));
        self.cursor = match last {
            Some(last) if more => last,
            _ => self.behind,
        };
    }

    /// The next look is at the very start.
    pub(super) fn start_over(&mut self) {
        self.start_over_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_appears_late_is_looked_for_at_once_within_the_interval() {
        let begun = Instant::now();
        let mut reading = Reading::new();
        assert_eq!(reading.next(begun), 0);
        reading.has_read(Some(500), false);
        assert_eq!(reading.next(begun), 0, "row 499 may appear now");
        reading.has_read(Some(600), false);

        let later = begun + START_OVER_INTERVAL;
        assert_eq!(reading.next(later), 0);
        reading.has_read(Some(700), false);
        assert_eq!(
            reading.next(later),
            0,
            "less than an interval behind row 600"
        );

        let still_later = later + START_OVER_INTERVAL;
        assert_eq!(reading.next(still_later), 0);
        reading.has_read(None, false);
        assert_eq!(
            reading.next(still_later),
            600,
            "what was read an interval ago"
        );
    }

    #[test]
    fn a_backlog_is_read_forwards_and_the_start_is_not_forgotten() {
        let begun = Instant::now();
        let mut reading = Reading::new();
        assert_eq!(reading.next(begun), 0);
        reading.has_read(Some(512), true);
        assert_eq!(reading.next(begun), 512);
        reading.has_read(Some(1024), true);
        assert_eq!(reading.next(begun + START_OVER_INTERVAL), 0);
    }

    #[test]
    fn what_failed_is_looked_for_at_the_very_start() {
        let begun = Instant::now();
        let mut reading = Reading::new();
        reading.next(begun);
        reading.has_read(Some(512), true);
        reading.start_over();
        assert_eq!(reading.next(begun), 0);
    }
}
