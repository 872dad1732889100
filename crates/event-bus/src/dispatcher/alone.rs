//! One message for one handler, with everything that can become of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;

use super::{Dispatcher, Unsettled, span};
use crate::database_fault::DatabaseFault;
use crate::dead_letters::{self, DeadLetter, Reason};
use crate::envelope::Envelope;
use crate::handler::{HandlerError, Verdict};
use crate::handler_entry::{HandlerEntry, HandlerFailure, Task};
use crate::held_keys::{self, Held};
use crate::inbox::{self, ClaimError};
use crate::retries::{self, FirstFailure, StoredRetry};
use crate::retry_policy::jitter;
use crate::sessions::{self, Attempts, is_outdated_statement};
use crate::signals;
use crate::unit_of_work::UnitOfWork;

/// What came of a message that was handled by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Each of its handlers has had it, or it is stored for them.
    Settled,
    /// Another transaction holds a claim for it. It is to be handled again when that has ended;
    /// handlers that have had it are not run again.
    ClaimHeld,
}

impl Dispatcher {
    /// Settles a message for each of its handlers, except where its claim is held elsewhere.
    ///
    /// # Errors
    ///
    /// If the database fails. Then it is to be called again; handlers that have had the message
    /// are not run again.
    pub(super) async fn handle_alone(
        &self,
        envelope: &Arc<Envelope>,
    ) -> Result<Outcome, sqlx::Error> {
        let mut outcome = Outcome::Settled;
        for handler in self.registry.handlers_of(&envelope.name) {
            match self.settle_for(handler, envelope).await {
                Ok(()) => {}
                Err(ClaimError::HeldElsewhere) => outcome = Outcome::ClaimHeld,
                Err(ClaimError::Database(error)) => return Err(error),
            }
        }
        Ok(outcome)
    }

    async fn settle_for(
        &self,
        handler: &HandlerEntry,
        envelope: &Arc<Envelope>,
    ) -> Result<(), ClaimError> {
        let began = Instant::now();
        let mut attempts = Attempts::on(&self.pool);
        let mut task = Task::first(envelope.clone());
        loop {
            let failure = match self.attempt(handler, &task).await {
                Ok(messages) => {
                    self.switches.succeeded(handler.name, messages);
                    return Ok(());
                }
                Err(Unsettled::ClaimHeld) => return Err(ClaimError::HeldElsewhere),
                Err(Unsettled::Outage(error)) => return Err(ClaimError::Database(error)),
                Err(Unsettled::Outdated(_)) if attempts.spend() => continue,
                Err(Unsettled::Outdated(failure) | Unsettled::Failed(failure)) => failure,
            };
            if self.may_pass(&failure) && task.attempt <= self.settings.retry.immediate {
                task.attempt = task.attempt.saturating_add(1);
                continue;
            }
            if self.counts_for_switch(&failure) {
                self.switches.failed(handler.name);
            }
            let first_failed = FirstFailure::Ago(began.elapsed());
            return self.keep(handler, &task, &failure, first_failed).await;
        }
    }

    /// Stores a message that a handler has failed at for the first time, and holds back its key.
    async fn keep(
        &self,
        handler: &HandlerEntry,
        task: &Task,
        failure: &HandlerFailure,
        first_failed: FirstFailure,
    ) -> Result<(), ClaimError> {
        let envelope = &task.envelope;
        let mut work = self.begin().await?;
        let fresh = match inbox::claim(&mut work, &[(envelope.id, handler.name)]).await {
            Ok(fresh) => fresh,
            Err(error) => {
                work.rollback().await?;
                return Err(error);
            }
        };
        if fresh.is_empty() {
            return Ok(());
        }
        if let Some(key) = self.key_of(envelope)
            && !held_keys::hold(&mut work, handler.name, key, envelope.id).await?
        {
            let held = Held {
                handler: handler.name,
                key: key.to_owned(),
                envelope: envelope.clone(),
            };
            held_keys::append(&mut work, &[held]).await?;
            return Ok(work.commit().await?);
        }
        let retry = StoredRetry {
            envelope: envelope.clone(),
            handler: handler.name.to_owned(),
            attempts: task.attempt,
            first_failed,
        };
        self.put_off(&mut work, &retry, failure).await?;
        Ok(work.commit().await?)
    }

    /// Makes an attempt, unless the message was taken before or has to wait. Returns how many
    /// messages were handled.
    async fn attempt(&self, handler: &HandlerEntry, task: &Task) -> Result<usize, Unsettled> {
        let mut work = self.begin().await?;
        match self.attempt_within(&mut work, handler, task).await {
            Ok(handled) => {
                work.commit().await.map_err(Unsettled::from_commit)?;
                Ok(handled)
            }
            Err(unsettled) => {
                // The next attempt claims the message again, so the claim must be gone before.
                let _ = work.rollback().await;
                Err(unsettled)
            }
        }
    }

    async fn attempt_within(
        &self,
        work: &mut UnitOfWork,
        handler: &HandlerEntry,
        task: &Task,
    ) -> Result<usize, Unsettled> {
        let claim = (task.envelope.id, handler.name);
        if inbox::claim(work, &[claim]).await?.is_empty() {
            signals::duplicates(1);
            return Ok(0);
        }
        let fresh = vec![(handler, task.clone())];
        let runnable = self.set_aside(work, fresh, |h| self.pause_of(h)).await?;
        for (handler, task) in &runnable {
            let tasks = std::slice::from_ref(task);
            self.run_handler(handler, tasks, work).await?;
        }
        Ok(runnable.len())
    }

    /// Runs a handler within a unit of work whose effects it is to cause.
    pub(super) async fn run_handler(
        &self,
        handler: &HandlerEntry,
        tasks: &[Task],
        work: &mut UnitOfWork,
    ) -> Result<(), Unsettled> {
        let span = span::for_handler(handler, tasks);
        if let [task] = tasks {
            let mut lineage = task.envelope.lineage_of_effects();
            lineage.trace = span::trace_within(&span, lineage.trace);
            work.inherit(lineage);
        }
        let _timer = span::HandlingTimer::start(handler.name);
        let run = tracing::Instrument::instrument(handler.run(tasks, work), span);
        match run.await {
            Ok(()) => Ok(()),
            Err(HandlerFailure::Handler(error)) => Err(self.blame(error).await),
            Err(unreadable) => Err(Unsettled::Failed(unreadable)),
        }
    }

    /// Whether a handler's error is an outage of this database, a matter of the session, or the
    /// handler's own: it may have used another database, or another service.
    async fn blame(&self, error: HandlerError) -> Unsettled {
        if is_outdated_statement(error.source.as_ref()) {
            return Unsettled::Outdated(HandlerFailure::Handler(error));
        }
        if DatabaseFault::behind(error.source.as_ref()) == Some(DatabaseFault::Outage)
            && let Err(outage) = sessions::run!(&self.pool, |connection| connection.ping())
        {
            return Unsettled::Outage(outage);
        }
        Unsettled::Failed(HandlerFailure::Handler(error))
    }

    /// Stores a message after a failed attempt: for a later one, or among the dead letters.
    pub(super) async fn put_off(
        &self,
        work: &mut UnitOfWork,
        retry: &StoredRetry,
        failure: &HandlerFailure,
    ) -> Result<(), sqlx::Error> {
        let reasons = failure.reasons();
        let delay = if self.may_pass(failure) {
            let jitter = jitter(&retry.envelope.id, retry.attempts);
            self.settings.retry.delay_after(retry.attempts, jitter)
        } else {
            None
        };
        if let Some(delay) = delay {
            retries::store(work, retry, delay, &reasons).await?;
            self.tell_of_retry(work, retry, delay, &reasons);
            return Ok(());
        }
        let letter = DeadLetter {
            envelope: Some(&retry.envelope),
            body: &retry.envelope.body,
            handler: Some(&retry.handler),
            reason: self.reason(failure),
            reasons: &reasons,
            attempts: retry.attempts,
            first_failed: retry.first_failed,
        };
        dead_letters::insert(work, &letter).await?;
        retries::remove(work, retry.envelope.id, &retry.handler).await
    }
}

impl Dispatcher {
    /// Tells of a retry once it is stored.
    fn tell_of_retry(
        &self,
        work: &mut UnitOfWork,
        retry: &StoredRetry,
        delay: Duration,
        reasons: &[String],
    ) {
        let envelope = retry.envelope.clone();
        let (handler, attempts) = (retry.handler.clone(), retry.attempts);
        let error = reasons.join(": ");
        let wake = self.retry_stored.clone();
        work.after_commit(move || {
            tracing::warn!(
                message_id = %envelope.id,
                name = envelope.name,
                handler,
                attempts,
                retry_in = ?delay,
                error,
                "a handler failed, its message is tried again later"
            );
            signals::retry_stored(&handler);
            wake.ring();
        });
    }
}

impl Unsettled {
    /// A commit can fail for what the handler did, such as breaking a deferred constraint.
    pub(super) fn from_commit(error: sqlx::Error) -> Self {
        if is_outdated_statement(&error) {
            Self::Outdated(HandlerFailure::Handler(error.into()))
        } else if DatabaseFault::of(&error) == DatabaseFault::Outage {
            Self::Outage(error)
        } else {
            Self::Failed(HandlerFailure::Handler(error.into()))
        }
    }

    /// What is not the handler's failure, as an error of the database.
    pub(super) fn into_outage(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Outage(error) => Err(error),
            // A retry claims nothing, and failures are dealt with where they occur.
            Self::ClaimHeld | Self::Outdated(_) | Self::Failed(_) => Ok(()),
        }
    }
}

impl Dispatcher {
    /// Whether another attempt may succeed.
    pub(super) fn may_pass(&self, failure: &HandlerFailure) -> bool {
        match failure {
            HandlerFailure::Unreadable { .. } => false,
            HandlerFailure::Handler(error) => {
                !error.is_final() && !self.settings.retry.rejects(error.source.as_ref())
            }
        }
    }

    /// Whether the failure says something about the handler's next message. A violated constraint
    /// does not: it is about the data of this one.
    pub(super) fn counts_for_switch(&self, failure: &HandlerFailure) -> bool {
        self.may_pass(failure) && failure.fault() != Some(DatabaseFault::ViolatedConstraint)
    }

    /// Why the message is dead, if it is.
    fn reason(&self, failure: &HandlerFailure) -> Reason {
        match failure {
            HandlerFailure::Unreadable { reason, .. } => *reason,
            HandlerFailure::Handler(_) if self.may_pass(failure) => Reason::RetriesExhausted,
            HandlerFailure::Handler(error)
                if error.verdict == Verdict::MayPass && error.is_refused_data() =>
            {
                Reason::RefusedData
            }
            HandlerFailure::Handler(_) => Reason::Rejected,
        }
    }
}
