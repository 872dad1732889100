//! Stored messages, when their next attempt is due.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Dispatcher, Unsettled};
use crate::dead_letters::Reason;
use crate::registry::{HandlerFailure, Task};
use crate::retries::{self, StoredRetry};
use crate::unit_of_work::UnitOfWork;

/// Works through what is due until shut down.
pub(crate) async fn run(dispatcher: Arc<Dispatcher>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let pause = match dispatcher.retry_one().await {
            Ok(true) => continue,
            Ok(false) => dispatcher.pause_before_next().await,
            // The dispatcher says that the database is away; this only waits for it.
            Err(error) => {
                tracing::debug!(?error, "retries wait for the database");
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
    async fn retry_one(&self) -> Result<bool, Unsettled> {
        let mut work = self.begin().await?;
        let Some(mut retry) = retries::take_due(&mut work).await? else {
            return Ok(false);
        };
        retry.attempts += 1;
        match self.retry_within(&mut work, &retry).await {
            Ok(()) => retries::remove(&mut work, retry.envelope.id, &retry.handler).await?,
            Err(Unsettled::Failed(failure)) => self.put_off(&mut work, &retry, &failure).await?,
            Err(outage @ Unsettled::Outage(_)) => return Err(outage),
        }
        work.commit().await?;
        Ok(true)
    }

    /// Runs the handler so that its failure leaves the unit of work as it was.
    async fn retry_within(
        &self,
        work: &mut UnitOfWork,
        retry: &StoredRetry,
    ) -> Result<(), Unsettled> {
        let name = &retry.envelope.name;
        let Some(handler) = self.registry.handler(name, &retry.handler) else {
            return Err(Unsettled::Failed(HandlerFailure::Unreadable {
                reason: Reason::UnknownMessage,
                detail: format!("`{name}` has no handler `{}` any more", retry.handler),
            }));
        };
        let task = Task {
            envelope: retry.envelope.clone(),
            attempt: retry.attempts,
        };
        let savepoint = work.savepoint().await?;
        let ran = self.run_handler(handler, &[task], work).await;
        if matches!(ran, Err(Unsettled::Failed(_))) {
            work.rollback_to_savepoint(savepoint).await?;
        }
        ran
    }

    async fn pause_before_next(&self) -> Duration {
        let poll_interval = self.settings.poll_interval;
        match retries::until_next(&self.pool).await {
            Ok(Some(until)) => until.min(poll_interval),
            Ok(None) | Err(_) => poll_interval,
        }
    }
}
