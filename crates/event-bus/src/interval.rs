//! Durations as PostgreSQL intervals.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;

/// About a thousand years. A longer interval would take a timestamp out of its range.
const LONGEST: Duration = Duration::from_secs(1000 * 365 * 24 * 60 * 60);

/// A duration as an interval, at most a thousand years.
///
/// Points in time are computed by the database from these, because its clock compares them later
/// and may differ from the clock of this program.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    let microseconds = duration.min(LONGEST).as_micros();
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(microseconds).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_duration_is_an_interval_that_can_be_added_to_a_timestamp() {
        assert_eq!(interval(Duration::from_millis(3)).microseconds, 3000);
        assert_eq!(interval(Duration::MAX), interval(LONGEST));
    }
}
