//! Orders, posted as fast as they are answered or at a fixed rate.

mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use self::client::{Answer, Client};

/// How orders come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each connection sends its next order when the last one is answered.
    Unpaced,
    /// So many a second, whether or not earlier ones are answered. What an order waits for a free
    /// connection counts as its latency, so that a stall is felt by all orders that fall into it.
    PerSecond(f64),
    /// Each connection rests between an answer and its next order.
    Resting(Duration),
}

/// A load on ordering.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Where ordering listens, `host:port`.
    pub(crate) address: String,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) duration: Duration,
    /// What is ordered, in turn.
    pub(crate) products: Arc<Vec<Uuid>>,
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) accepted: u64,
    /// Sent away with a 503 and the time to come again.
    pub(crate) sent_away: u64,
    /// How long accepted orders took, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Load {
    /// Posts orders until the time is up and all answers are in.
    ///
    /// # Errors
    ///
    /// If a request fails otherwise than by being sent away.
    pub(crate) async fn run(self) -> anyhow::Result<Outcome> {
        let turn = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..self.connections {
            clients.spawn(self.clone().drive(start, turn.clone()));
        }
        let mut outcome = Outcome::new();
        while let Some(of_client) = clients.join_next().await {
            outcome.add(&of_client??);
        }
        Ok(outcome)
    }

    async fn drive(self, start: Instant, turn: Arc<AtomicU64>) -> anyhow::Result<Outcome> {
        let mut client = Client::connect(&self.address).await?;
        let mut outcome = Outcome::new();
        loop {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            let due = match self.pace {
                Pace::Unpaced => Instant::now(),
                Pace::PerSecond(rate) => start + Duration::from_secs_f64(turn as f64 / rate),
                Pace::Resting(rest) => {
                    sleep(rest).await;
                    Instant::now()
                }
            };
            if due.duration_since(start) >= self.duration {
                return Ok(outcome);
            }
            sleep_until(due).await;
            let body = self.order(turn);
            match client.post("/api/ordering/order", body).await? {
                Answer::Done => {
                    let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                    outcome.latency.saturating_record(micros);
                    outcome.accepted += 1;
                }
                Answer::Busy { retry_after } => {
                    outcome.sent_away += 1;
                    sleep(retry_after).await;
                }
                Answer::Failed(status) => anyhow::bail!("an order was answered with {status}"),
            }
        }
    }

    fn order(&self, turn: u64) -> Bytes {
        let index = usize::try_from(turn).unwrap_or(0) % self.products.len();
        let product = self.products[index];
        Bytes::from(format!(
            r#"{{"customerName":"David","productId":"{product}","quantity":1}}"#
        ))
    }
}

impl Outcome {
    fn new() -> Self {
        Self {
            accepted: 0,
            sent_away: 0,
            latency: histogram(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.sent_away += other.sent_away;
        self.latency += &other.latency;
    }
}

/// Latencies up to a minute, in microseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constant and valid")]
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds of a histogram")
}
