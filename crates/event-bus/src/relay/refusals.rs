//! Messages that the broker refuses: out of the outbox, and retried where they block no other.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use super::Relay;
use super::breakers::Breakers;
use super::problems::Problems;
use super::rounds::{self, Outcome, Round, Rounds};
use crate::lease::{LeasedSession, in_time};
use crate::outbox::{OutboxRow, Unreadable};
use crate::refused::{self, Destination, RefusedRow};
use crate::signals;
use crate::transport::{Refusal, RefusalScope, Transport};

/// Between two retries, so that many of them leave room for other work.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
/// After the connection failed, which says nothing about the message.
const CONNECTION_PAUSE: Duration = Duration::from_secs(1);
/// The most rounds in flight, each of which takes a channel.
const MOST_ROUNDS: usize = 4;

/// The refused messages of a leader.
pub(super) struct Refusals {
    transport: Arc<dyn Transport>,
    breakers: Breakers,
    rounds: Rounds,
    retry: Retry,
    problems: Problems,
}

/// The retry of messages that are refused for what they are themselves, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// There are none.
    Never,
    At(Instant),
    InFlight,
}

impl Refusals {
    pub(super) fn new(relay: &Relay) -> Self {
        Self {
            transport: relay.transport.clone(),
            breakers: Breakers::new(relay.settings.relay_batch),
            rounds: FuturesUnordered::new(),
            retry: Retry::Never,
            problems: Problems::new(relay.conditions.clone()),
        }
    }

    /// Takes over what the last leader has left.
    pub(super) async fn load(&mut self, lease: &mut LeasedSession) -> Result<(), sqlx::Error> {
        let now = Instant::now();
        for group in in_time(refused::groups(lease.connection())).await? {
            let scope = match group.destination {
                Some(_) => RefusalScope::Destination,
                None => RefusalScope::Message,
            };
            let refusal = Refusal {
                error: Cow::Owned(group.error),
                reason: group.reason,
                scope,
            };
            self.raise(group.name.as_deref(), &refusal);
            if let Some(destination) = group.destination {
                self.breakers.refuse(destination, refusal, now);
            }
        }
        self.plan_retry(lease).await
    }

    /// When [`start_rounds`](Self::start_rounds) has something to do.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        if self.rounds.len() >= MOST_ROUNDS {
            return None;
        }
        let retry_at = match self.retry {
            Retry::At(at) => Some(at),
            Retry::Never | Retry::InFlight => None,
        };
        self.breakers.next_at().into_iter().chain(retry_at).min()
    }

    /// The next round that was settled; never, while none is in flight.
    pub(super) async fn settled(&mut self) -> Round {
        match self.rounds.next().await {
            Some(round) => round,
            None => std::future::pending().await,
        }
    }

    /// Moves rows of refused destinations out of the outbox and returns the others.
    pub(super) async fn hold_back(
        &mut self,
        lease: &mut LeasedSession,
        rows: Vec<OutboxRow>,
    ) -> Result<Vec<OutboxRow>, sqlx::Error> {
        if self.breakers.is_empty() {
            return Ok(rows);
        }
        let mut held: HashMap<Destination, Vec<i64>> = HashMap::new();
        let mut others = Vec::new();
        for row in rows {
            let destination = Destination::of(&row.envelope);
            if self.breakers.refusal(&destination).is_some() {
                held.entry(destination).or_default().push(row.position);
            } else {
                others.push(row);
            }
        }
        for (destination, positions) in held {
            if let Some(refusal) = self.breakers.refusal(&destination) {
                let aside = refused::set_aside(lease.connection(), &positions, refusal, false);
                in_time(aside).await?;
            }
        }
        Ok(others)
    }

    /// Moves a message out of the outbox that the broker certainly refused.
    pub(super) async fn refuse(
        &mut self,
        lease: &mut LeasedSession,
        position: i64,
        destination: Destination,
        refusal: Refusal,
    ) -> Result<(), sqlx::Error> {
        in_time(refused::set_aside(
            lease.connection(),
            &[position],
            &refusal,
            true,
        ))
        .await?;
        self.raise(Some(&destination.name), &refusal);
        match refusal.scope {
            RefusalScope::Message => self.plan_retry(lease).await,
            RefusalScope::Destination => {
                self.breakers.refuse(destination, refusal, Instant::now());
                Ok(())
            }
        }
    }

    /// Moves rows out of the outbox that cannot be read.
    pub(super) async fn set_unreadable_aside(
        &mut self,
        lease: &mut LeasedSession,
        rows: &[Unreadable],
    ) -> Result<(), sqlx::Error> {
        for row in rows {
            let refusal = unreadable(&row.error);
            signals::refused(1, &refusal.error);
            let positions = [row.position];
            let aside = refused::set_aside(lease.connection(), &positions, &refusal, true);
            for name in in_time(aside).await? {
                self.raise(name.as_deref(), &refusal);
            }
        }
        self.plan_retry(lease).await
    }

    /// Publishes what is due.
    pub(super) async fn start_rounds(
        &mut self,
        lease: &mut LeasedSession,
    ) -> Result<(), sqlx::Error> {
        let now = Instant::now();
        while self.rounds.len() < MOST_ROUNDS
            && let Some((destination, at_once)) = self.breakers.next(now)
        {
            let limit = i64::try_from(at_once).unwrap_or(i64::MAX);
            let rows = refused::next_of(lease.connection(), &destination, limit);
            let rows = in_time(rows).await?;
            if rows.is_empty() {
                self.breakers.close(&destination);
                self.clear_if_gone(lease, Some(&destination.name)).await?;
                continue;
            }
            self.start_round(lease, Some(destination), rows).await?;
        }
        let is_due = matches!(self.retry, Retry::At(at) if at <= now);
        if is_due && self.rounds.len() < MOST_ROUNDS {
            match in_time(refused::next_due(lease.connection())).await? {
                None => self.plan_retry(lease).await?,
                Some(row) => {
                    self.retry = Retry::InFlight;
                    self.start_round(lease, None, vec![row]).await?;
                }
            }
        }
        Ok(())
    }

    /// Publishes rows: those of a destination, or the one that is retried by itself.
    async fn start_round(
        &mut self,
        lease: &mut LeasedSession,
        destination: Option<Destination>,
        rows: Vec<RefusedRow>,
    ) -> Result<(), sqlx::Error> {
        let mut readable = Vec::new();
        for row in rows {
            match row.envelope {
                Ok(envelope) => readable.push((row.position, envelope)),
                Err(error) => {
                    let refusal = unreadable(&error);
                    signals::refused(1, &refusal.error);
                    let positions = [row.position];
                    let again = refused::refuse_again(lease.connection(), &positions, &refusal);
                    in_time(again).await?;
                    self.raise(row.name.as_deref(), &refusal);
                }
            }
        }
        if let Some((_, first)) = readable.first() {
            let of = Destination::of(first);
            let is_retry = destination.is_none();
            let publish = rounds::publish(self.transport.clone(), of, is_retry, readable);
            self.rounds.push(publish.boxed());
            return Ok(());
        }
        match &destination {
            Some(destination) => self.breakers.go_on(destination, Instant::now()),
            None => self.retry = Retry::Never,
        }
        self.plan_retry(lease).await
    }

    /// Deletes what was confirmed, and decides when the others are published again.
    pub(super) async fn settle(
        &mut self,
        lease: &mut LeasedSession,
        round: Round,
    ) -> Result<(), sqlx::Error> {
        let Round {
            destination,
            is_retry,
            rows,
        } = round;
        let outcome = Outcome::of(rows);
        outcome.store(lease).await?;
        for (_, refusal) in &outcome.refused {
            self.raise(Some(&destination.name), refusal);
        }
        let now = Instant::now();
        match outcome.refusal_of_destination() {
            Some(refusal) => self.breakers.refuse(destination.clone(), refusal, now),
            None if is_retry => {}
            None if outcome.is_failed => self.breakers.postpone(&destination, now),
            None if outcome.has_culprit() => self.breakers.go_on(&destination, now),
            None => self.breakers.confirm(&destination, now),
        }
        if is_retry && outcome.is_failed {
            self.retry = Retry::At(now + CONNECTION_PAUSE);
            return Ok(());
        }
        if is_retry {
            self.retry = Retry::Never;
            self.clear_if_gone(lease, Some(&destination.name)).await?;
        }
        if is_retry || outcome.has_culprit() {
            self.plan_retry(lease).await?;
        }
        Ok(())
    }

    /// Asks the database, whose clock counts, when the next message is due for a retry of its own.
    async fn plan_retry(&mut self, lease: &mut LeasedSession) -> Result<(), sqlx::Error> {
        if self.retry == Retry::InFlight {
            return Ok(());
        }
        let until_due = in_time(refused::until_due(lease.connection())).await?;
        let at = until_due.and_then(|wait| Instant::now().checked_add(wait.max(SHORTEST_WAIT)));
        self.retry = at.map_or(Retry::Never, Retry::At);
        Ok(())
    }

    fn raise(&mut self, name: Option<&str>, refusal: &Refusal) {
        let what = match refusal.scope {
            RefusalScope::Message => "one is refused and retried by itself",
            RefusalScope::Destination => "all are refused and one is tried from time to time",
        };
        let reason = format!(
            "{what}; they are stored in outbox_refused: {}",
            refusal.reason
        );
        self.problems.raise(&subject(name), reason);
    }

    async fn clear_if_gone(
        &mut self,
        lease: &mut LeasedSession,
        name: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        let subject = subject(name);
        if self.problems.is_raised(&subject)
            && !in_time(refused::has_name(lease.connection(), name)).await?
        {
            self.problems.clear(&subject);
        }
        Ok(())
    }
}

/// The subject of the condition that messages of this name are refused.
fn subject(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("message {name}"),
        None => "message without a name".to_owned(),
    }
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    Refusal {
        error: Cow::Borrowed("unreadable"),
        reason: format!("its attributes cannot be read: {error}"),
        scope: RefusalScope::Message,
    }
}
