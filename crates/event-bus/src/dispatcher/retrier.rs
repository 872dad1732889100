//! Stored messages, when their next attempt is due.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Dispatcher, Unsettled, suspects};
use crate::dead_letters::Reason;
use crate::handler_entry::{HandlerFailure, Task};
use crate::kill_switch::Attempt;
use crate::retries::{self, BegunRetry, StoredRetry, Suspects};
use crate::sessions::{self, Attempts};
use crate::unit_of_work::UnitOfWork;
use crate::vacuum::{Table, Vacuum};
use crate::{error_text, held_keys};

/// Between two looks at the table, so that a time that is almost there is no busy loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// How many attempts at a message may be begun without an end: as many as the broker allows itself.
/// Handling the message most likely ends the process.
const MOST_BEGUN: i32 = 20;

/// The same for a message that the broker has given up on. It has counted 20 deliveries already, of
/// which none needs to have been an attempt; so one attempt that is cut off by a restart says
/// nothing, and three in a row, in which the process runs no other suspect, say enough.
const MOST_BEGUN_OF_GIVEN_UP: i32 = 3;

/// Works through what is due until shut down.
pub(crate) async fn run(dispatcher: Arc<Dispatcher>, shutdown: CancellationToken) {
    let mut vacuum = Vacuum::new(dispatcher.pool.clone(), Table::Retries);
    let subject = format!("retries of group {}", dispatcher.group);
    while !shutdown.is_cancelled() {
        let retried = dispatcher.retry_one().await;
        if retried.is_ok() {
            dispatcher.conditions.clear(&subject);
        }
        let pause = match retried {
            Ok(true) => {
                vacuum.note(1).await;
                continue;
            }
            Ok(false) => dispatcher.pause_before_next().await,
            Err(error) => {
                let reason = error_text::line(&error);
                let reason = format!("retries wait for the database: {reason}");
                dispatcher.conditions.raise(&subject, reason);
                dispatcher.settings.poll_interval
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = dispatcher.retry_stored.rung() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    dispatcher.conditions.clear(&subject);
}

const fn most_begun(begun: &BegunRetry) -> i32 {
    if begun.given_up {
        MOST_BEGUN_OF_GIVEN_UP
    } else {
        MOST_BEGUN
    }
}

impl Dispatcher {
    /// Makes the next attempt that is due. Returns whether there was one.
    async fn retry_one(&self) -> Result<bool, sqlx::Error> {
        let handlers = self.switches.admitted();
        let mut admission = suspects::admit();
        let included = match admission {
            Some(_) => Suspects::Included,
            None => Suspects::Excluded,
        };
        let begun = sessions::transact!(&self.pool, |connection| retries::begin_due(
            connection, &handlers, included
        ))?;
        let Some(begun) = begun else {
            return Ok(false);
        };
        if begun.begun == 1 {
            admission = None;
        }
        let Some(attempt) = self.switches.attempt(&begun.retry.handler) else {
            // The handler was paused meanwhile, and no attempt was made.
            sessions::transact!(&self.pool, |connection| retries::unbegin(
                connection, &begun
            ))?;
            return Ok(false);
        };
        let ended = self.end_begun(&begun, attempt).await;
        if ended.is_err() {
            // If the database is unavailable, the count stays.
            let _ = sessions::transact!(&self.pool, |connection| retries::unbegin(
                connection, &begun
            ));
        }
        drop(admission);
        ended.map(|()| true)
    }

    /// Brings a begun attempt to its end, unless another instance has taken it over.
    async fn end_begun(&self, begun: &BegunRetry, attempt: Attempt<'_>) -> Result<(), sqlx::Error> {
        let retry = StoredRetry {
            attempts: begun.retry.attempts.saturating_add(1),
            ..begun.retry.clone()
        };
        let mut sessions = Attempts::on(&self.pool);
        loop {
            let mut work = self.begin().await?;
            if !retries::hold(&mut work, begun).await? {
                return Ok(());
            }
            if begun.begun > most_begun(begun) {
                return self.give_up(work, begun).await;
            }
            work.mark().await?;
            let failure = match self.retry_within(&mut work, &retry).await {
                Ok(()) => match work.commit().await.map_err(Unsettled::from_commit) {
                    Ok(()) => {
                        attempt.succeeded();
                        return Ok(());
                    }
                    Err(Unsettled::Outdated(_)) if sessions.spend() => continue,
                    Err(Unsettled::Outdated(failure) | Unsettled::Failed(failure)) => {
                        work = self.begin().await?;
                        if !retries::hold(&mut work, begun).await? {
                            return Ok(());
                        }
                        failure
                    }
                    Err(unsettled) => return unsettled.into_outage(),
                },
                Err(Unsettled::Outdated(_)) if sessions.spend() => continue,
                Err(Unsettled::Outdated(failure) | Unsettled::Failed(failure)) => {
                    // The message stays held, so that no other instance begins it in between.
                    work.undo().await?;
                    failure
                }
                Err(unsettled) => return unsettled.into_outage(),
            };
            if self.counts_for_switch(&failure) {
                attempt.failed();
            }
            self.put_off(&mut work, &retry, &failure).await?;
            return work.commit().await;
        }
    }

    /// Dead-letters a message whose attempts end with the process.
    async fn give_up(&self, mut work: UnitOfWork, begun: &BegunRetry) -> Result<(), sqlx::Error> {
        let failure = HandlerFailure::Unreadable {
            reason: Reason::DeliveryLimit,
            detail: format!("{} attempts were begun and did not end", most_begun(begun)),
        };
        self.put_off(&mut work, &begun.retry, &failure).await?;
        work.commit().await
    }

    /// Runs the handler and deletes the retry, in the unit of work that holds it.
    async fn retry_within(
        &self,
        work: &mut UnitOfWork,
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
        self.run_handler(handler, &[task], work).await?;
        let removed = retries::remove(work, retry.envelope.id, &retry.handler).await;
        removed.map_err(Unsettled::from_commit)?;
        let advanced = held_keys::advance(work, &retry.handler, retry.envelope.id).await;
        advanced.map_err(Unsettled::from_commit)
    }

    async fn pause_before_next(&self) -> Duration {
        let poll_interval = self.settings.poll_interval;
        match sessions::run!(&self.pool, |connection| retries::until_next(connection)) {
            Ok(Some(until)) => until.clamp(SHORTEST_PAUSE, poll_interval),
            Ok(None) | Err(_) => poll_interval,
        }
    }
}
