//! State and messages in one commit.

#[cfg(feature = "test-kit")]
use std::collections::HashSet;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::envelope::{Envelope, Lineage, PublishError};
use crate::message::{Command, Event, Message, Posted};
use crate::outbox;
use crate::received::Received;
use crate::store::Store;
use crate::wake::WakeUp;

/// A database transaction that carries messages.
///
/// It dereferences to [`PgConnection`], so any query runs on it: `query.execute(&mut **work)`.
/// Messages are kept in memory and written to the outbox by one statement within the commit.
/// Dropping it rolls back, and with the state the messages are gone too.
pub struct UnitOfWork {
    transaction: Store,
    pending: Pending,
    lineage: Lineage,
    publisher: Arc<Publisher>,
    after_commit: AfterCommit,
}

/// What is to be told once it is true.
type AfterCommit = Vec<Box<dyn FnOnce() + Send + Sync>>;

/// What every unit of work of a bus shares.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// The CloudEvents source of what is published.
    pub(crate) service: String,
    /// Rung after a commit that wrote messages.
    pub(crate) relay: WakeUp,
    /// Rung after a commit that scheduled messages which are due before the relay looks anyway.
    pub(crate) clock: WakeUp,
    /// How often the relay looks anyway.
    pub(crate) poll_interval: Duration,
}

#[derive(Debug, Default)]
struct Pending {
    now: Vec<Envelope>,
    later: Vec<(Timestamp, Envelope)>,
}

impl UnitOfWork {
    pub(crate) async fn begin(
        pool: &PgPool,
        publisher: Arc<Publisher>,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self {
            transaction: Store::begin(pool).await?,
            pending: Pending::default(),
            lineage: Lineage::begin(),
            publisher,
            after_commit: AfterCommit::new(),
        })
    }

    /// Publishes an event with the commit.
    ///
    /// # Errors
    ///
    /// If the event can't be encoded, is too large, or cannot be stored.
    pub fn publish<M: Message<Kind = Event>>(&mut self, event: &M) -> Result<(), PublishError> {
        let envelope = self.seal(event)?;
        self.pending.now.push(envelope);
        Ok(())
    }

    /// Sends a command to its one receiver with the commit.
    ///
    /// # Errors
    ///
    /// If the command can't be encoded, is too large, or cannot be stored.
    pub fn send<M: Message<Kind = Command>>(&mut self, command: &M) -> Result<(), PublishError> {
        let envelope = self.seal(command)?;
        self.pending.now.push(envelope);
        Ok(())
    }

    /// Stores a message with the commit and publishes it at the given time, or at once if that has
    /// passed. Returns the message's id.
    ///
    /// The time is compared with the clock of this program, at the commit. From then on the delay
    /// is the database's to measure, so the two clocks need not agree.
    ///
    /// # Errors
    ///
    /// If the message can't be encoded, is too large, or cannot be stored.
    pub fn schedule<M: Message<Kind: Posted>>(
        &mut self,
        message: &M,
        at: Timestamp,
    ) -> Result<Uuid, PublishError> {
        let envelope = self.seal(message)?;
        let id = envelope.id;
        self.pending.later.push((at, envelope));
        Ok(id)
    }

    /// Takes a scheduled message back, with the commit. Returns whether it will never go.
    ///
    /// `true`: it was still waiting. When this unit of work is committed it is gone; until then it
    /// waits, whatever its time. `false`: it has gone, or there never was one with this id.
    ///
    /// Of a message whose time is just coming, either the cancellation or the message wins, never
    /// both.
    ///
    /// # Errors
    ///
    /// If the database fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: as long as the unit of work is not committed, nothing is
    /// cancelled. Whether the commit cancels the message is unknown if the future was dropped; call
    /// it again.
    pub async fn cancel_scheduled(&mut self, id: Uuid) -> Result<bool, sqlx::Error> {
        let before = self.pending.later.len();
        self.pending.later.retain(|(_, envelope)| envelope.id != id);
        if self.pending.later.len() < before {
            return Ok(true);
        }
        match &mut self.transaction {
            #[cfg(feature = "test-kit")]
            Store::Detached { scheduled } => Ok(scheduled.remove(&id)),
            Store::Transaction(transaction) => outbox::cancel_scheduled(transaction, id).await,
        }
    }

    /// From here on, what is published counts as an effect of this message: it carries its
    /// correlation id and trace, and its id as the causation id.
    ///
    /// Handlers of single messages have this done for them.
    pub fn caused_by<M>(&mut self, message: &Received<M>) {
        self.inherit(message.envelope().lineage_of_effects());
    }

    /// From here on, what is published belongs to this chain of causes and effects.
    ///
    /// For a unit of work that serves several requests together, each in a trace of its own: take
    /// [`Lineage::begin`] where the request is taken, and name it here before publishing for it.
    pub fn inherit(&mut self, lineage: Lineage) {
        self.lineage = lineage;
    }

    /// The trace this work belongs to, 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<&str> {
        self.lineage.trace.trace_id()
    }

    /// Commits the state and the messages together, and wakes the relay.
    ///
    /// # Errors
    ///
    /// If the database refuses. After an error of the connection itself it is unknown whether the
    /// commit took place.
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe: if its future is dropped, it is unknown whether the commit
    /// took place. State and messages are committed together or not at all in any case, and the
    /// session returns to the pool without a transaction.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.transaction.check_open()?;
        let Pending { now, later } = &self.pending;
        let later: Vec<_> = later
            .iter()
            .map(|(at, envelope)| (delay_until(*at), envelope))
            .collect();
        if now.is_empty() && later.is_empty() {
            // Of a transaction in which a statement failed, and the error was swallowed,
            // PostgreSQL makes a rollback, and reports the commit as done. Any statement tells.
            sqlx::query("select 1")
                .execute(&mut *self.transaction)
                .await?;
        } else {
            outbox::insert(&mut self.transaction, now, &later).await?;
        }
        let has_messages = !now.is_empty();
        let first_delay = later.iter().map(|(delay, _)| *delay).min();
        self.transaction.commit().await?;
        for tell in self.after_commit {
            tell();
        }
        if has_messages {
            self.publisher.relay.ring();
        }
        if first_delay.is_some_and(|delay| delay < self.publisher.poll_interval) {
            self.publisher.clock.ring();
        }
        Ok(())
    }

    /// Gives everything up. Dropping does the same, a little later.
    ///
    /// # Errors
    ///
    /// If the connection is lost, which rolls back as well.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the transaction is rolled back even if the future is dropped.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.transaction.rollback().await
    }

    /// Marks the state to which [`undo`](Self::undo) returns.
    pub(crate) async fn mark(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("savepoint attempt")
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Undoes everything since the mark, also in an aborted transaction. Locks that were taken
    /// before the mark stay.
    pub(crate) async fn undo(&mut self) -> Result<(), sqlx::Error> {
        self.pending = Pending::default();
        self.after_commit.clear();
        sqlx::query("rollback to savepoint attempt")
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Does something when the commit has succeeded, such as to log what it did.
    pub(crate) fn after_commit(&mut self, tell: impl FnOnce() + Send + Sync + 'static) {
        self.after_commit.push(Box::new(tell));
    }

    /// Work without a database, whose messages are taken from it instead of being committed.
    #[cfg(feature = "test-kit")]
    pub(crate) fn detached(service: &str, lineage: Lineage, scheduled: HashSet<Uuid>) -> Self {
        Self {
            transaction: Store::Detached { scheduled },
            pending: Pending::default(),
            lineage,
            publisher: Arc::new(Publisher {
                service: service.to_owned(),
                relay: WakeUp::default(),
                clock: WakeUp::default(),
                poll_interval: Duration::MAX,
            }),
            after_commit: AfterCommit::new(),
        }
    }

    /// What was published, what was scheduled, and what is left of what was scheduled before.
    #[cfg(feature = "test-kit")]
    pub(crate) fn into_messages(
        self,
    ) -> (Vec<Envelope>, Vec<(Timestamp, Envelope)>, HashSet<Uuid>) {
        let scheduled = match self.transaction {
            Store::Detached { scheduled } => scheduled,
            Store::Transaction(_) => HashSet::new(),
        };
        (self.pending.now, self.pending.later, scheduled)
    }

    fn seal<M: Message>(&self, message: &M) -> Result<Envelope, PublishError> {
        Envelope::encode(&self.publisher.service, self.lineage.clone(), message)
    }
}

/// How long until a time, by the program's clock; zero if it has passed.
///
/// What the database stores begins with this delay and its own clock: to compare a time of the
/// program with the database's clock would be wrong by as much as the two differ.
fn delay_until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()
}

impl Deref for UnitOfWork {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for UnitOfWork {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

impl fmt::Debug for UnitOfWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnitOfWork")
            .field("pending", &self.pending)
            .field("lineage", &self.lineage)
            .finish_non_exhaustive()
    }
}
