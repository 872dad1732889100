//! The relay that publishes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handing_over::{Chunk, HandingOver};
use super::pace::Pace;
use super::problems::Problems;
use super::reading::Reading;
use super::refusals::Refusals;
use super::{Relay, SUBJECT};
use crate::lease::{LeasedSession, in_time};
use crate::outbox::{OutboxRow, Run};
use crate::transport::{Refusal, Settlement};
use crate::vacuum::{Table, Vacuum};
use crate::{outbox, signals};

/// After the transport failed to publish: before it is given the messages again.
const PUBLISH_RETRY: Duration = Duration::from_millis(250);
/// Between two looks at what is due, so that many due messages leave room for new ones.
const SHORTEST_TICK: Duration = Duration::from_millis(10);
/// After a look that found due messages which other transactions hold.
const HELD_TICK: Duration = Duration::from_millis(100);
/// An idle relay looks at its tables at least this often.
const LONGEST_TICK: Duration = Duration::from_secs(24 * 60 * 60);
/// The subject of the condition that publishing fails.
const PUBLISHING: &str = "publishing";

pub(super) struct Leader<'a> {
    relay: &'a Relay,
    /// Holds the lock. Rows are read and deleted on it alone, so that a leader that has lost the
    /// lock deletes nothing. It may publish once more what it has read: that is delivered twice.
    lease: LeasedSession,
    /// What the transport is being given. One batch at a time, which keeps the order.
    handing_over: Option<HandingOver>,
    chunks: FuturesUnordered<BoxFuture<'static, Chunk>>,
    in_flight: BTreeSet<i64>,
    reading: Reading,
    /// Whether there may be rows that were not read.
    more: bool,
    /// Whether the database has given rows, or said that there are none.
    has_read: bool,
    pace: Pace,
    refusals: Refusals,
    problems: Problems,
    /// When to look for due messages and lost wake-ups.
    tick_at: Instant,
    paused_until: Option<Instant>,
    vacuum: Vacuum,
}

impl<'a> Leader<'a> {
    pub(super) fn new(relay: &'a Relay, lease: LeasedSession) -> Self {
        Self {
            relay,
            lease,
            handing_over: None,
            chunks: FuturesUnordered::new(),
            in_flight: BTreeSet::new(),
            reading: Reading::new(),
            more: true,
            has_read: false,
            pace: Pace::new(relay.settings.relay_batch),
            refusals: Refusals::new(relay),
            problems: Problems::new(relay.conditions.clone()),
            tick_at: Instant::now(),
            paused_until: None,
            vacuum: Vacuum::new(relay.pool.clone(), Table::Outbox),
        }
    }

    /// Begins with single rows, as after a batch that took too long to read.
    pub(super) fn be_careful(&mut self) {
        self.pace.slow_down();
    }

    /// Publishes until shut down, and then until every in-flight message is settled.
    pub(super) async fn lead(&mut self, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
        self.refusals.load(&mut self.lease).await?;
        while !shutdown.is_cancelled() {
            if self.may_read() {
                self.publish_next().await?;
                self.settle_what_is_ready().await?;
                continue;
            }
            self.wait(shutdown).await?;
        }
        // What is not handed over yet may wait for a connection; it stays in the outbox.
        self.handing_over = None;
        let never = CancellationToken::new();
        while !self.chunks.is_empty() {
            self.wait(&never).await?;
        }
        Ok(())
    }

    /// Gives the lock back, so that another instance need not wait for the session's end.
    pub(super) async fn resign(self) {
        self.lease.close().await;
    }

    fn may_read(&self) -> bool {
        let window = if self.pace.is_careful() {
            1
        } else {
            self.relay.settings.relay_window.max(1)
        };
        self.more
            && self.paused_until.is_none()
            && self.handing_over.is_none()
            && self.chunks.len() < window
    }

    /// Waits for the next thing to happen, and does what it asks for.
    async fn wait(&mut self, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
        let relay = self.relay;
        let wake_at = self.wake_at();
        tokio::select! {
            chunk = HandingOver::finish(&mut self.handing_over) => self.chunks.push(chunk),
            Some(chunk) = self.chunks.next() => self.settle(chunk).await?,
            round = self.refusals.settled() => self.refusals.settle(&mut self.lease, round).await?,
            () = relay.publisher.relay.rung() => self.more = true,
            () = relay.publisher.clock.rung() => self.tick().await?,
            () = tokio::time::sleep_until(wake_at) => self.on_timer().await?,
            () = shutdown.cancelled() => {}
        }
        Ok(())
    }

    fn wake_at(&self) -> Instant {
        let wakes = [self.paused_until, self.refusals.wake_at()];
        let wakes = wakes.into_iter().flatten();
        wakes.fold(self.tick_at.min(self.lease.beat_at()), Instant::min)
    }

    async fn on_timer(&mut self) -> Result<(), sqlx::Error> {
        let now = Instant::now();
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        if self.tick_at <= now {
            self.tick().await?;
        }
        if self.refusals.wake_at().is_some_and(|at| at <= now) {
            self.refusals.start_rounds(&mut self.lease).await?;
        }
        if self.lease.beat_at() <= now {
            self.lease.beat().await?;
        }
        Ok(())
    }

    /// Reads the next rows and begins to hand them to the transport.
    async fn publish_next(&mut self) -> Result<(), sqlx::Error> {
        let after = self.reading.next(Instant::now());
        let in_flight = outbox::runs(&self.in_flight);
        let limit = i64::try_from(self.pace.limit()).unwrap_or(i64::MAX);
        let rows = outbox::next(self.lease.connection(), after, &in_flight, limit);
        let rows = match in_time(rows).await {
            Err(error @ sqlx::Error::ColumnDecode { .. }) => {
                return self.skip_unreadable(after, &in_flight, limit, error).await;
            }
            rows => rows?,
        };
        self.has_read = true;
        self.more = rows.len() == self.pace.limit();
        self.reading
            .has_read(rows.last().map(|row| row.position), self.more);
        if rows.is_empty() {
            return Ok(());
        }
        let rows = self.refusals.hold_back(&mut self.lease, rows).await?;
        if rows.is_empty() {
            self.pace.speed_up();
            return Ok(());
        }
        self.hand_over(rows);
        Ok(())
    }

    fn hand_over(&mut self, rows: Vec<OutboxRow>) {
        self.in_flight.extend(rows.iter().map(|row| row.position));
        let transport = self.relay.transport.clone();
        let mut handing_over = HandingOver::begin(transport, rows, self.pace.is_careful());
        match handing_over.poll_once() {
            Some(chunk) => self.chunks.push(chunk),
            None => self.handing_over = Some(handing_over),
        }
    }

    /// Moves rows out of the way that cannot be read. `error` is what reading them gave.
    async fn skip_unreadable(
        &mut self,
        after: i64,
        in_flight: &[Run],
        limit: i64,
        error: sqlx::Error,
    ) -> Result<(), sqlx::Error> {
        let rows = outbox::unreadable(self.lease.connection(), after, in_flight, limit);
        let rows = in_time(rows).await?;
        if rows.is_empty() {
            return Err(error);
        }
        self.refusals
            .set_unreadable_aside(&mut self.lease, &rows)
            .await
    }

    async fn settle_what_is_ready(&mut self) -> Result<(), sqlx::Error> {
        while let Some(Some(chunk)) = self.chunks.next().now_or_never() {
            self.settle(chunk).await?;
        }
        Ok(())
    }

    /// Deletes what was confirmed, moves what the broker returned or certainly refused, and leaves
    /// the rest in the outbox.
    async fn settle(&mut self, chunk: Chunk) -> Result<(), sqlx::Error> {
        let (mut confirmed, mut unroutable) = (Vec::new(), Vec::new());
        let mut refused: Option<(i64, Refusal)> = None;
        let mut failed: Option<(usize, String)> = None;
        for (position, settlement) in chunk.rows {
            self.in_flight.remove(&position);
            match settlement {
                Settlement::Confirmed => confirmed.push(position),
                Settlement::Unroutable => unroutable.push(position),
                Settlement::Refused(refusal) => {
                    signals::refused(1, &refusal.error);
                    refused = Some((position, refusal));
                }
                Settlement::Suspected(refusal) => {
                    signals::sent(1, Some("unconfirmed"));
                    refused = Some((position, refusal));
                }
                Settlement::Failed(reason) => failed.get_or_insert((0, reason)).0 += 1,
            }
        }
        self.delete(&confirmed).await?;
        self.set_aside(&unroutable).await?;
        self.vacuum.note(confirmed.len() + unroutable.len()).await;
        let is_settled = refused.is_none() && failed.is_none();
        match (refused, chunk.alone) {
            (Some((position, refusal)), Some(destination)) => {
                let lease = &mut self.lease;
                let refuse = self.refusals.refuse(lease, position, destination, refusal);
                refuse.await?;
                self.more = true;
            }
            (Some((_, refusal)), None) => self.suspect(&refusal),
            (None, _) => {}
        }
        match failed {
            Some((messages, reason)) => self.pause(messages, &reason),
            // The broker responded, whatever it said of the messages.
            None => self.problems.clear(PUBLISHING),
        }
        if is_settled && chunk.is_careful {
            self.pace.speed_up();
        }
        Ok(())
    }

    async fn delete(&mut self, confirmed: &[i64]) -> Result<(), sqlx::Error> {
        if confirmed.is_empty() {
            return Ok(());
        }
        signals::sent(confirmed.len(), None);
        in_time(outbox::delete(self.lease.connection(), confirmed)).await
    }

    async fn set_aside(&mut self, unroutable: &[i64]) -> Result<(), sqlx::Error> {
        if unroutable.is_empty() {
            return Ok(());
        }
        signals::sent(unroutable.len(), Some("unroutable"));
        in_time(outbox::set_aside(self.lease.connection(), unroutable)).await?;
        tracing::warn!(
            messages = unroutable.len(),
            "no queue is bound for these messages; they are stored and will be retried"
        );
        self.tick_at = self.tick_at.min(Instant::now() + SHORTEST_TICK);
        Ok(())
    }

    /// The broker refused a message, perhaps another one than those it did not confirm, perhaps
    /// because of its channel. Publishes one by one, on new channels, until it is known.
    fn suspect(&mut self, refusal: &Refusal) {
        tracing::debug!(
            error = %refusal.error,
            reason = refusal.reason,
            "the broker refuses messages; publishing one by one"
        );
        self.pace.slow_down();
        self.more = true;
        self.reading.start_over();
    }

    /// Nothing is known about these messages, and nothing wrong with them.
    fn pause(&mut self, messages: usize, reason: &str) {
        signals::sent(messages, Some("unconfirmed"));
        // While it publishes one by one, the cause is known.
        if !self.pace.is_careful() {
            let reason = format!("messages are not confirmed and will be retried: {reason}");
            self.problems.raise(PUBLISHING, reason);
        }
        self.paused_until = Some(Instant::now() + PUBLISH_RETRY);
        self.more = true;
        self.reading.start_over();
    }

    /// Releases what is due and sets the next time to look.
    async fn tick(&mut self) -> Result<(), sqlx::Error> {
        let limit = self.relay.settings.relay_batch.max(1);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let released = in_time(outbox::release_due(self.lease.connection(), limit)).await?;
        let shortest = match released.until_next {
            // Another transaction is about to cancel it.
            Some(Duration::ZERO) if released.messages == 0 => HELD_TICK,
            _ => SHORTEST_TICK,
        };
        let poll_interval = self.relay.settings.poll_interval.min(LONGEST_TICK);
        let wait = released.until_next.unwrap_or(poll_interval);
        self.tick_at = Instant::now() + wait.min(poll_interval).max(shortest);
        self.more = true;
        if self.has_read {
            self.relay.conditions.clear(SUBJECT);
        }
        Ok(())
    }
}
