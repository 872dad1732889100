//! Stored messages, when their next attempt is due.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Dispatcher, Unsettled};
use crate::dead_letters::Reason;
use crate::handler_entry::{HandlerFailure, Task};
use crate::held_keys;
use crate::retries::{self, StoredRetry};
use crate::sessions::{self, Attempts};
use crate::unit_of_work::UnitOfWork;
use crate::vacuum::{Table, Vacuum};

/// Between two looks at the table, so that a time that is almost there is no busy loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// How many attempts at a message may be begun and come to no end: as many as the broker allows
/// itself. Handling the message most likely ends the process.
const MOST_BEGUN: i32 = 20;

/// Works through what is due until shut down.
pub(crate) async fn run(dispatcher: Arc<Dispatcher>, shutdown: CancellationToken) {
    let mut vacuum = Vacuum::new(dispatcher.pool.clone(), Table::Retries);
    while !shutdown.is_cancelled() {
        let pause = match dispatcher.retry_one().await {
            Ok(true) => {
                vacuum.note(1).await;
                continue;
            }
            Ok(false) => dispatcher.pause_before_next().await,
            Err(error) => {
                tracing::warn!(%error, "retries wait for the database");
                dispatcher.settings.poll_interval
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = dispatcher.retry_stored.rung() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Dispatcher {
    /// Makes the next attempt that is due. Returns whether there was one.
    async fn retry_one(&self) -> Result<bool, sqlx::Error> {
        let handlers = self.switches.admitted();
        let begun = sessions::transact!(&self.pool, |connection| retries::begin_due(
            connection, &handlers
        ))?;
        let Some(begun) = begun else {
            return Ok(false);
        };
        let Some(attempt) = self.switches.attempt(&begun.retry.handler) else {
            return Ok(false);
        };
        let mut retry = begun.retry.clone();
        retry.attempts += 1;
        let mut sessions = Attempts::on(&self.pool);
        let settled = loop {
            let mut work = self.begin().await?;
            if !retries::hold(&mut work, &begun).await? {
                return Ok(true);
            }
            if begun.begun > MOST_BEGUN {
                self.give_up(work, &begun.retry).await?;
                return Ok(true);
            }
            match self.retry_within(work, &retry).await {
                Err(Unsettled::Outdated(_)) if sessions.spend() => {}
                settled => break settled,
            }
        };
        match settled {
            Ok(()) => attempt.succeeded(),
            Err(Unsettled::Outage(error)) => return Err(error),
            Err(Unsettled::Outdated(failure) | Unsettled::Failed(failure)) => {
                if self.may_pass(&failure) {
                    attempt.failed();
                }
                let mut work = self.begin().await?;
                if retries::lock(&mut work, retry.envelope.id, &retry.handler).await? {
                    self.put_off(&mut work, &retry, &failure).await?;
                }
                work.commit().await?;
            }
        }
        Ok(true)
    }

    /// Dead-letters a message whose attempts end with the process.
    async fn give_up(&self, mut work: UnitOfWork, retry: &StoredRetry) -> Result<(), sqlx::Error> {
        let failure = HandlerFailure::Unreadable {
            reason: Reason::DeliveryLimit,
            detail: format!("{MOST_BEGUN} attempts were begun and came to no end"),
        };
        self.put_off(&mut work, retry, &failure).await?;
        work.commit().await
    }

    /// Runs the handler and forgets the retry, in the unit of work that holds it.
    async fn retry_within(
        &self,
        mut work: UnitOfWork,
        retry: &StoredRetry,
    ) -> Result<(), Unsettled> {
        let name = &retry.envelope.name;
        let Some(handler) = self.registry.handler(name, &retry.handler) else {
            return Err(Unsettled::Failed(HandlerFailure::Unreadable {
                reason: Reason::UnknownMessage,
                detail: format!("`{}` does not handle `{name}` any more", retry.handler),
            }));
        };
        let task = Task {
            envelope: retry.envelope.clone(),
            attempt: retry.attempts,
        };
        self.run_handler(handler, &[task], &mut work).await?;
        let removed = retries::remove(&mut work, retry.envelope.id, &retry.handler).await;
        removed.map_err(Unsettled::from_commit)?;
        let advanced = held_keys::advance(&mut work, &retry.handler, retry.envelope.id).await;
        advanced.map_err(Unsettled::from_commit)?;
        work.commit().await.map_err(Unsettled::from_commit)
    }

    async fn pause_before_next(&self) -> Duration {
        let poll_interval = self.settings.poll_interval;
        match sessions::run!(&self.pool, |connection| retries::until_next(connection)) {
            Ok(Some(until)) => until.clamp(SHORTEST_PAUSE, poll_interval),
            Ok(None) | Err(_) => poll_interval,
        }
    }
}
