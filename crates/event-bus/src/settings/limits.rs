//! The range that each setting may have. Values outside of it would make the bus spin, stand still
//! or overflow, so they are refused when it starts.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::BusSettings;
use crate::consumer_group::GroupSettings;
use crate::kill_switch::KillSwitch;
use crate::retry_policy::RetryPolicy;
use crate::start_error::StartError;

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Far beyond any use, and well inside what timers and PostgreSQL's intervals hold.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl BusSettings {
    /// Checks what is not a group's own.
    ///
    /// # Errors
    ///
    /// [`StartError::InvalidSetting`] for the first setting outside its range.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let limits = Limits { scope: "bus" };
        limits.within("relay_batch", self.relay_batch, 1..=10_000)?;
        limits.within("relay_window", self.relay_window, 1..=1_000)?;
        limits.within("answers_at_once", self.answers_at_once, 1..=u16::MAX)?;
        let poll_interval = 10 * MILLISECOND..=HOUR;
        limits.within("poll_interval", self.poll_interval, poll_interval)?;
        limits.within("inbox_retention", self.inbox_retention, HOUR..=CENTURY)?;
        limits.within("shutdown_grace", self.shutdown_grace, Duration::ZERO..=HOUR)?;
        if let Some(retention) = self.dead_letter_retention {
            limits.within("dead_letter_retention", retention, HOUR..=CENTURY)?;
        }
        Ok(())
    }
}

impl GroupSettings {
    /// Checks the settings of the group `name`, which may come from the bus's.
    ///
    /// # Errors
    ///
    /// [`StartError::InvalidSetting`] for the first setting outside its range.
    pub(crate) fn check(&self, name: &str) -> Result<(), StartError> {
        let limits = Limits { scope: name };
        limits.within("workers", self.workers, 1..=1_000)?;
        limits.within("batch", self.batch, 1..=10_000)?;
        limits.within("prefetch", self.prefetch, 1..=u16::MAX)?;
        limits.retry(&self.retry)?;
        match &self.kill_switch {
            Some(kill_switch) => limits.kill_switch(kill_switch),
            None => Ok(()),
        }
    }
}

struct Limits<'a> {
    /// Whose settings are checked: the bus's, or those of the group of this name.
    scope: &'a str,
}

impl Limits<'_> {
    fn retry(&self, retry: &RetryPolicy) -> Result<(), StartError> {
        let delays = Duration::ZERO..=CENTURY;
        self.within("retry.first_delay", retry.first_delay, delays.clone())?;
        self.within("retry.max_delay", retry.max_delay, delays)
    }

    fn kill_switch(&self, switch: &KillSwitch) -> Result<(), StartError> {
        self.within("kill_switch.window", switch.window, 1..=100_000)?;
        let share = f64::MIN_POSITIVE..=1.0;
        self.within("kill_switch.failure_share", switch.failure_share, share)?;
        self.within("kill_switch.pause", switch.pause, MILLISECOND..=DAY)?;
        let longest = switch.pause..=CENTURY;
        self.within("kill_switch.max_pause", switch.max_pause, longest)
    }

    fn within<T: Copy + PartialOrd + Debug>(
        &self,
        setting: &'static str,
        value: T,
        allowed: RangeInclusive<T>,
    ) -> Result<(), StartError> {
        if allowed.contains(&value) {
            return Ok(());
        }
        Err(StartError::InvalidSetting {
            scope: self.scope.to_owned(),
            setting,
            value: format!("{value:?}"),
            allowed: format!("{:?} to {:?}", allowed.start(), allowed.end()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut BusSettings)) -> Option<&'static str> {
        let mut settings = BusSettings::default();
        change(&mut settings);
        match settings.check() {
            Err(StartError::InvalidSetting { setting, .. }) => Some(setting),
            _ => None,
        }
    }

    #[test]
    fn the_defaults_are_allowed() {
        assert_eq!(refused(|_| {}), None);
    }

    #[test]
    fn a_setting_that_would_spin_stand_still_or_overflow_is_refused_by_name() {
        assert_eq!(refused(|s| s.relay_batch = 0), Some("relay_batch"));
        assert_eq!(refused(|s| s.relay_window = 0), Some("relay_window"));
        assert_eq!(refused(|s| s.answers_at_once = 0), Some("answers_at_once"));
        for poll_interval in [Duration::ZERO, Duration::MAX] {
            let refused = refused(|s| s.poll_interval = poll_interval);
            assert_eq!(refused, Some("poll_interval"));
        }
        for retention in [Duration::ZERO, Duration::MAX] {
            let inbox = refused(|s| s.inbox_retention = retention);
            assert_eq!(inbox, Some("inbox_retention"));
            let letters = refused(|s| s.dead_letter_retention = Some(retention));
            assert_eq!(letters, Some("dead_letter_retention"));
        }
        let refused = refused(|s| s.shutdown_grace = Duration::MAX);
        assert_eq!(refused, Some("shutdown_grace"));
    }

    #[test]
    fn the_error_names_the_owner_the_value_and_the_allowed_range() {
        let settings = BusSettings {
            relay_batch: 0,
            ..BusSettings::default()
        };
        let error = settings.check().expect_err("a batch of nothing");
        assert_eq!(
            error.to_string(),
            "the setting `relay_batch` of `bus` is 0; allowed is 1 to 10000"
        );
    }

    /// A comparison with NaN is false, so it can't pass as a share.
    #[test]
    fn a_share_that_is_no_number_is_refused() {
        let switch = KillSwitch {
            failure_share: f64::NAN,
            ..KillSwitch::default()
        };
        assert!(Limits { scope: "mail" }.kill_switch(&switch).is_err());
    }
}
