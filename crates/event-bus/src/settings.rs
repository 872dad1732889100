//! What can be set on a bus, with defaults that suit most services.

use std::time::Duration;

use crate::kill_switch::KillSwitch;
use crate::retry_policy::RetryPolicy;

/// Sizes and times of a bus. Those of handling can be set for each
/// [`ConsumerGroup`](crate::ConsumerGroup) as well.
#[derive(Debug, Clone)]
pub struct BusSettings {
    /// The most messages that are handled in one transaction. Default 256.
    pub batch: usize,
    /// How many batches are worked on at once. Default 2, so that one is handled while another
    /// one commits.
    pub workers: usize,
    /// How many messages the broker may send ahead. Default 1024.
    pub prefetch: u16,
    /// How many queries of one name are answered at once. Default 64.
    pub answers_at_once: u16,
    /// The most rows that the relay publishes before it looks for more. Default 512.
    pub relay_batch: usize,
    /// How many relay batches may be unconfirmed at once. Default 4.
    pub relay_window: usize,
    /// The backstop for wake-ups that got lost: how often the tables are looked at when nothing
    /// is heard. Default 1 s.
    pub poll_interval: Duration,
    /// What happens when a handler fails.
    pub retry: RetryPolicy,
    /// When a handler that fails nearly always is paused; `None` for never.
    pub kill_switch: Option<KillSwitch>,
    /// How long the inbox remembers. A message that is delivered again later than this would be
    /// handled again. Default 7 days.
    pub inbox_retention: Duration,
    /// How long dead letters are kept, and for ever with `None`. Default 90 days.
    pub dead_letter_retention: Option<Duration>,
    /// How long work under way may take to finish when the bus is stopped. Default 10 s.
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
