//! Posts orders, as fast as the service responds or at a fixed rate.

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

/// The pace of orders.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each connection sends its next order as soon as it has the response to the last one.
    Unpaced,
    /// This many orders per second, whether or not earlier requests have completed. The time an
    /// order waits for a free connection counts towards its latency, so that a stall shows in the
    /// latency of all orders due during it.
    PerSecond(f64),
    /// Each connection pauses between a response and its next order.
    Resting(Duration),
}

/// A load on the ordering service.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Address of the ordering service, `host:port`.
    pub(crate) address: String,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) duration: Duration,
    /// The products, ordered in turn.
    pub(crate) products: Arc<Vec<Uuid>>,
}

/// The results of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) accepted: u64,
    /// Rejected with 503 and `Retry-After`.
    pub(crate) rejected: u64,
    /// Latency of the accepted orders, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Load {
    /// Posts orders for the duration of the load, and waits for all responses.
    ///
    /// # Errors
    ///
    /// If a request fails or its response has an error status other than 503.
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
                    outcome.rejected += 1;
                    sleep(retry_after).await;
                }
                Answer::Failed(status) => {
                    anyhow::bail!("an order was rejected with status {status}")
                }
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
            rejected: 0,
            latency: histogram(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.latency += &other.latency;
    }
}

/// An empty histogram for up to a minute, in microseconds, with three significant digits.
pub(crate) fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constant and valid")]
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are valid")
}
