//! The relay that publishes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Relay;
use super::reading::Reading;
use crate::transport::Settlement;
use crate::vacuum::{Table, Vacuum};
use crate::{outbox, signals};

/// After the transport failed to publish: before it is given the messages again.
const PUBLISH_RETRY: Duration = Duration::from_millis(250);

/// Between two looks at what is due, so that many due messages leave room for new ones.
const SHORTEST_TICK: Duration = Duration::from_millis(10);

/// Rows that were handed to the transport together.
type Chunk = Vec<(i64, Settlement)>;

pub(super) struct Leader<'a> {
    relay: &'a Relay,
    /// Holds the lock. Rows are read and deleted on it alone, so that a leader that has lost the
    /// lock deletes nothing. It may publish once more what it has read: that is delivered twice.
    connection: PgConnection,
    chunks: FuturesUnordered<BoxFuture<'static, Chunk>>,
    in_flight: BTreeSet<i64>,
    reading: Reading,
    /// Whether there may be rows that were not read.
    more: bool,
    /// When to look for due messages and lost wake-ups.
    tick_at: Instant,
    paused_until: Option<Instant>,
    vacuum: Vacuum,
}

impl<'a> Leader<'a> {
    pub(super) fn new(relay: &'a Relay, connection: PgConnection) -> Self {
        Self {
            relay,
            connection,
            chunks: FuturesUnordered::new(),
            in_flight: BTreeSet::new(),
            reading: Reading::new(),
            more: true,
            tick_at: Instant::now(),
            paused_until: None,
            vacuum: Vacuum::new(relay.pool.clone(), Table::Outbox),
        }
    }

    /// Publishes until shut down, and then until everything under way is settled.
    pub(super) async fn lead(&mut self, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
        let relay = self.relay;
        while !shutdown.is_cancelled() {
            if self.may_read() {
                let read = self.publish_next();
                match shutdown.run_until_cancelled(read).await {
                    Some(read) => read?,
                    None => break,
                }
                self.settle_what_is_ready().await?;
                continue;
            }
            let wake_at = self.paused_until.unwrap_or(self.tick_at).min(self.tick_at);
            tokio::select! {
                Some(chunk) = self.chunks.next() => self.settle(chunk).await?,
                () = relay.publisher.relay.rung() => self.more = true,
                () = relay.publisher.clock.rung() => self.tick().await?,
                () = tokio::time::sleep_until(wake_at) => self.on_timer().await?,
                () = shutdown.cancelled() => {}
            }
        }
        while let Some(chunk) = self.chunks.next().await {
            self.settle(chunk).await?;
        }
        Ok(())
    }

    /// Gives the lock back, so that another instance need not wait for the session's end.
    pub(super) async fn resign(self) {
        // If the connection is lost, so is the lock.
        let _ = self.connection.close().await;
    }

    fn may_read(&self) -> bool {
        self.more
            && self.paused_until.is_none()
            && self.chunks.len() < self.relay.settings.relay_window
    }

    /// Reads the next rows and hands them to the transport.
    async fn publish_next(&mut self) -> Result<(), sqlx::Error> {
        let batch = self.relay.settings.relay_batch;
        let after = self.reading.next(Instant::now());
        let in_flight = outbox::runs(&self.in_flight);
        let limit = i64::try_from(batch).unwrap_or(i64::MAX);
        let rows = outbox::next(&mut self.connection, after, &in_flight, limit).await?;
        self.more = rows.len() == batch;
        self.reading
            .has_read(rows.last().map(|row| row.position), self.more);
        let (positions, envelopes): (Vec<i64>, Vec<_>) = rows
            .into_iter()
            .map(|row| (row.position, row.envelope))
            .unzip();
        if positions.is_empty() {
            return Ok(());
        }
        let confirms = self.relay.transport.publish(envelopes).await;
        self.in_flight.extend(&positions);
        let handed_over = Instant::now();
        let settled = async move {
            let settlements = confirms.await;
            signals::published_in(handed_over.elapsed());
            positions.into_iter().zip(settlements).collect()
        };
        self.chunks.push(settled.boxed());
        Ok(())
    }

    async fn settle_what_is_ready(&mut self) -> Result<(), sqlx::Error> {
        while let Some(Some(chunk)) = self.chunks.next().now_or_never() {
            self.settle(chunk).await?;
        }
        Ok(())
    }

    /// Forgets what was confirmed, sets aside what nobody can receive, keeps what failed.
    async fn settle(&mut self, chunk: Chunk) -> Result<(), sqlx::Error> {
        let (mut confirmed, mut unroutable) = (Vec::new(), Vec::new());
        let mut failed: Option<(usize, String)> = None;
        for (position, settlement) in chunk {
            self.in_flight.remove(&position);
            match settlement {
                Settlement::Confirmed => confirmed.push(position),
                Settlement::Unroutable => unroutable.push(position),
                Settlement::Failed(reason) => failed.get_or_insert((0, reason)).0 += 1,
            }
        }
        signals::sent(confirmed.len(), None);
        signals::sent(unroutable.len(), Some("unroutable"));
        if !confirmed.is_empty() {
            outbox::delete(&mut self.connection, &confirmed).await?;
        }
        if !unroutable.is_empty() {
            outbox::set_aside(&mut self.connection, &unroutable).await?;
            tracing::warn!(
                messages = unroutable.len(),
                "nobody is bound for these messages yet; they are kept and tried again"
            );
            self.tick_at = self.tick_at.min(Instant::now() + SHORTEST_TICK);
        }
        self.vacuum.note(confirmed.len() + unroutable.len()).await;
        if let Some((messages, reason)) = failed {
            signals::sent(messages, Some("unconfirmed"));
            tracing::warn!(messages, reason, "publishing failed and is tried again");
            self.paused_until = Some(Instant::now() + PUBLISH_RETRY);
            self.more = true;
            self.reading.start_over();
        }
        Ok(())
    }

    async fn on_timer(&mut self) -> Result<(), sqlx::Error> {
        let now = Instant::now();
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        if self.tick_at <= now {
            self.tick().await?;
        }
        Ok(())
    }

    /// Releases what is due and sets the next time to look.
    async fn tick(&mut self) -> Result<(), sqlx::Error> {
        let limit = i64::try_from(self.relay.settings.relay_batch).unwrap_or(i64::MAX);
        let next_due = outbox::release_due(&mut self.connection, limit).await?;
        let poll_interval = self.relay.settings.poll_interval;
        let until_due = next_due.map(|due| {
            let wait = due.duration_since(Timestamp::now());
            Duration::try_from(wait).unwrap_or(Duration::ZERO)
        });
        let wait = until_due.unwrap_or(poll_interval);
        self.tick_at = Instant::now() + wait.min(poll_interval).max(SHORTEST_TICK);
        self.more = true;
        Ok(())
    }
}
