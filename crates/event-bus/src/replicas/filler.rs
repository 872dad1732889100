//! Fills a replica: asks page by page, for as long as it takes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::entry::ReplicaState;
use super::page::{Answered, Step};
use super::storage::{self, Progress};
use super::store::ReplicaStore;
use crate::bus::EventBus;
use crate::handler::HandlerError;
use crate::handler_entry::panic_message;
use crate::queries::RequestError;
use crate::sessions;
use crate::snapshot::GetSnapshotPage;

/// How long a page may take. The owner reads it from its database.
const PATIENCE: Duration = Duration::from_secs(10);
/// While the owner is away: from the first try to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What fills a replica.
pub(super) struct Filler<S> {
    pub(super) bus: EventBus,
    pub(super) store: Arc<S>,
    pub(super) state: Arc<ReplicaState>,
}

/// Why the filling does not go on for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum FillError {
    #[error("{0}; its owner is away, or of a version that serves no snapshots")]
    NobodyAnswers(RequestError<()>),
    #[error(transparent)]
    NoAnswer(RequestError<()>),
    #[error("the owner's page makes no sense: {0}")]
    Page(String),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the replica's store failed: {}", .0.reasons().join(": "))]
    Store(HandlerError),
    #[error("the replica's store panicked: {0}")]
    Panicked(String),
}

impl<S: ReplicaStore> Filler<S> {
    /// Fills the replica when it is not filled, from when its queue is `bound`.
    pub(super) async fn run(self, bound: CancellationToken) {
        // What is committed at the owner before this is in the pages, what comes after it in the
        // queue. Asking any earlier would leave a gap.
        bound.cancelled().await;
        let mut told = None;
        let mut pause = FIRST_PAUSE;
        loop {
            // The store is others' code: its panic must not end the filling for good.
            let attended = AssertUnwindSafe(self.attend()).catch_unwind().await;
            let attended = attended.unwrap_or_else(|panic| {
                let message = panic_message(panic.as_ref()).to_owned();
                Err(FillError::Panicked(message))
            });
            match attended {
                Ok(()) => {
                    (told, pause) = (None, FIRST_PAUSE);
                    let rest = tokio::time::sleep(self.bus.publisher.poll_interval);
                    tokio::select! {
                        () = rest => {}
                        () = self.state.wanted.rung() => {}
                    }
                }
                Err(error) => {
                    let reason = error.to_string();
                    if told.as_ref() != Some(&reason) {
                        tracing::warn!(replica = S::NAME, reason, "the replica waits to be filled");
                        told = Some(reason);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Looks whether there is something to do, and does it unless another instance is about it.
    async fn attend(&self) -> Result<(), FillError> {
        let progress = sessions::transact!(&self.bus.pool, |connection| storage::progress(
            connection,
            S::NAME
        ))?;
        self.state.set_filled(progress.is_filled);
        if progress.is_filled {
            return Ok(());
        }
        let Some(mut right) = storage::try_fill(&self.bus.pool, S::NAME).await? else {
            return Ok(());
        };
        // If the right is lost, filling ends: another instance carries on from the same page.
        let filled = right.keep_while(self.fill()).await?;
        right.close().await;
        filled
    }

    async fn fill(&self) -> Result<(), FillError> {
        let mut entities = 0;
        loop {
            let progress = sessions::transact!(&self.bus.pool, |connection| storage::progress(
                connection,
                S::NAME
            ))?;
            if progress.is_filled {
                tracing::info!(replica = S::NAME, entities, "the replica is filled");
                self.state.set_filled(true);
                return Ok(());
            }
            let answered = self.ask(progress).await?;
            answered.check()?;
            let mut step = answered.apply(&*self.store, &self.bus).await?;
            entities += answered.page.entities.len();
            while answered.page.next.is_none() && step == Step::More {
                step = answered.finish(&*self.store, &self.bus).await?;
            }
        }
    }

    async fn ask(&self, progress: Progress) -> Result<Answered<S::Eto>, FillError> {
        let query = GetSnapshotPage::<S::Eto>::after(progress.cursor);
        let asked = self.bus.ask(&query, PATIENCE).await;
        let (page, query) = asked.map_err(|error| match error {
            RequestError::NobodyAnswers { .. } => FillError::NobodyAnswers(error),
            error => FillError::NoAnswer(error),
        })?;
        Ok(Answered {
            query,
            page,
            progress,
        })
    }
}
