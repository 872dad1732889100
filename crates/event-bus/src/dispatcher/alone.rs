//! One message for one handler, with everything that can become of it.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Dispatcher, Unsettled, span};
use crate::dead_letters::{self, DeadLetter, Reason};
use crate::envelope::Envelope;
use crate::handler::{HandlerError, Verdict};
use crate::registry::{HandlerEntry, HandlerFailure, Task};
use crate::retries::{self, StoredRetry};
use crate::retry_policy::jitter;
use crate::unit_of_work::UnitOfWork;
use crate::{inbox, outage};

impl Dispatcher {
    /// Settles a message for each of its handlers.
    ///
    /// # Errors
    ///
    /// If the database is away. Then it is to be called again; handlers that have had the message
    /// are not run again.
    pub(super) async fn handle_alone(&self, envelope: &Arc<Envelope>) -> Result<(), sqlx::Error> {
        for handler in self.registry.handlers_of(&envelope.name) {
            self.settle_for(handler, envelope).await?;
        }
        Ok(())
    }

    async fn settle_for(
        &self,
        handler: &HandlerEntry,
        envelope: &Arc<Envelope>,
    ) -> Result<(), sqlx::Error> {
        let first_failed_at = Timestamp::now();
        let mut task = Task {
            envelope: envelope.clone(),
            attempt: 1,
        };
        loop {
            let failure = match self.attempt(handler, &task).await {
                Ok(()) => return Ok(()),
                Err(Unsettled::Outage(error)) => return Err(error),
                Err(Unsettled::Failed(failure)) => failure,
            };
            if failure.may_pass() && task.attempt <= self.settings.retry.immediate {
                task.attempt += 1;
                continue;
            }
            let retry = StoredRetry {
                envelope: envelope.clone(),
                handler: handler.name.to_owned(),
                attempts: task.attempt,
                first_failed_at,
            };
            let mut work = self.begin().await?;
            let fresh = inbox::claim(&mut work, &[(envelope.id, handler.name)]).await?;
            if !fresh.is_empty() {
                self.put_off(&mut work, &retry, &failure).await?;
                work.commit().await?;
            }
            return Ok(());
        }
    }

    async fn attempt(&self, handler: &HandlerEntry, task: &Task) -> Result<(), Unsettled> {
        let mut work = self.begin().await?;
        let claim = (task.envelope.id, handler.name);
        if inbox::claim(&mut work, &[claim]).await?.is_empty() {
            span::count_duplicates(1);
            return Ok(());
        }
        self.run_handler(handler, std::slice::from_ref(task), &mut work)
            .await?;
        work.commit().await.map_err(Unsettled::from_commit)
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

    /// Whether a handler's error is an outage of this database, or the handler's own: it may have
    /// asked another one, or another service.
    async fn blame(&self, error: HandlerError) -> Unsettled {
        if outage::is_behind(&error)
            && let Err(outage) = sqlx::query("select 1").execute(&self.pool).await
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
        let delay = if failure.may_pass() {
            let jitter = jitter(&retry.envelope.id, retry.attempts);
            self.settings.retry.delay_after(retry.attempts, jitter)
        } else {
            None
        };
        if let Some(delay) = delay {
            let next_at = Timestamp::now().saturating_add(delay);
            let next_at = next_at.unwrap_or(Timestamp::MAX);
            retries::store(work, retry, next_at, &reasons).await?;
            tracing::warn!(
                message_id = %retry.envelope.id,
                name = retry.envelope.name,
                handler = retry.handler,
                attempts = retry.attempts,
                retry_in = ?delay,
                error = reasons.join(": "),
                "a handler failed, its message is tried again later"
            );
            metrics::counter!("event_bus.retries", "handler" => retry.handler.clone()).increment(1);
            self.retry_stored.ring();
            return Ok(());
        }
        let letter = DeadLetter {
            envelope: Some(&retry.envelope),
            body: &retry.envelope.body,
            handler: Some(&retry.handler),
            reason: failure.reason(),
            reasons: &reasons,
            attempts: retry.attempts,
            first_failed_at: retry.first_failed_at,
        };
        dead_letters::insert_within(work, &letter).await?;
        retries::remove(work, retry.envelope.id, &retry.handler).await
    }
}

impl Unsettled {
    /// A commit can fail for what the handler did, such as breaking a deferred constraint.
    pub(super) fn from_commit(error: sqlx::Error) -> Self {
        if outage::is(&error) {
            Self::Outage(error)
        } else {
            Self::Failed(HandlerFailure::Handler(error.into()))
        }
    }
}

impl HandlerFailure {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Handler(error) if error.verdict == Verdict::MayPass)
    }

    fn reasons(&self) -> Vec<String> {
        match self {
            Self::Handler(error) => error.reasons(),
            Self::Unreadable { detail, .. } => vec![detail.clone()],
        }
    }

    /// Why the message is dead, if it is.
    fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { reason, .. } => *reason,
            Self::Handler(error) => match error.verdict {
                Verdict::MayPass => Reason::RetriesExhausted,
                Verdict::Never => Reason::Rejected,
            },
        }
    }
}
