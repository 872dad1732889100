//! The settings of a bus, with defaults that suit most services.

mod limits;

use std::time::Duration;

use crate::kill_switch::KillSwitch;
use crate::retry_policy::RetryPolicy;

/// Sizes and times of a bus. Those of handling can be set for each
/// [`ConsumerGroup`](crate::ConsumerGroup) as well.
///
/// A value outside the range that is given with each setting is refused when the bus starts, by
/// [`StartError::InvalidSetting`](crate::StartError::InvalidSetting).
#[derive(Debug, Clone)]
pub struct BusSettings {
    /// The most messages that are handled in one transaction, 1 to 10,000. Default 256.
    pub batch: usize,
    /// How many batches are handled concurrently, 1 to 1,000. Default 2, so that one is handled
    /// while another one commits.
    pub workers: usize,
    /// How many unacknowledged messages the broker may send ahead, 1 to 65,535. Default 1024.
    pub prefetch: u16,
    /// How many requests of one name are answered concurrently, 1 to 65,535. Default 64.
    pub answers_at_once: u16,
    /// The most rows that the relay publishes before it reads on, 1 to 10,000. Default 512.
    pub relay_batch: usize,
    /// How many relay batches may be unconfirmed at once, 1 to 1,000. Default 4.
    pub relay_window: usize,
    /// How often the tables are read when no wake-up arrives, in case one was lost: 10 ms to 1 h.
    /// Default 1 s.
    pub poll_interval: Duration,
    /// What happens when a handler fails.
    pub retry: RetryPolicy,
    /// When a handler that nearly always fails is paused; `None` for never.
    pub kill_switch: Option<KillSwitch>,
    /// How long the inbox remembers handled messages, 1 h to 100 years. A message that is delivered
    /// again later than this is handled again. Default 7 days.
    pub inbox_retention: Duration,
    /// How long dead letters are stored, 1 h to 100 years, and for ever with `None`. Default
    /// 90 days.
    pub dead_letter_retention: Option<Duration>,
    /// How long in-flight work may take to finish when the bus is stopped, at most 1 h. Default
    /// 10 s.
    pub shutdown_grace: Duration,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            batch: 256,
            workers: 2,
            prefetch: 1024,
            answers_at_once: 64,
            relay_batch: 512,
            relay_window: 4,
            poll_interval: Duration::from_secs(1),
            retry: RetryPolicy::default(),
            kill_switch: Some(KillSwitch::default()),
            inbox_retention: Duration::from_secs(7 * 24 * 60 * 60),
            dead_letter_retention: Some(Duration::from_secs(90 * 24 * 60 * 60)),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}
