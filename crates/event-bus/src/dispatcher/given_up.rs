//! Messages that the broker has given up on.
//!
//! The broker counts each return of a message, also of one that was only sent ahead and that no
//! handler was ever given. After 20 of them, such as restarts behind a slow message, it gives up.
//! So this count says little about the message; the count of attempts that were begun decides.

use std::sync::Arc;

use super::Dispatcher;
use super::alone::Outcome;
use crate::envelope::Envelope;
use crate::handler_entry::Task;
use crate::inbox::{self, ClaimError};
use crate::retries::Untried;
use crate::signals;

impl Dispatcher {
    /// Stores a message for a first attempt by each handler that has not claimed it. Handlers that
    /// have had it are left out: only its acknowledgement was lost.
    pub(super) async fn store_given_up(
        &self,
        envelope: &Arc<Envelope>,
    ) -> Result<Outcome, sqlx::Error> {
        match self.try_store_given_up(envelope).await {
            Ok(stored) => {
                if stored > 0 {
                    tracing::warn!(
                        message_id = %envelope.id,
                        name = envelope.name,
                        handlers = stored,
                        "the broker gave up on a message that was never begun; it is stored and tried"
                    );
                    signals::given_up(stored);
                    self.retry_stored.ring();
                }
                Ok(Outcome::Settled)
            }
            Err(ClaimError::HeldElsewhere) => Ok(Outcome::ClaimHeld),
            Err(ClaimError::Database(error)) => Err(error),
        }
    }

    /// Returns for how many handlers the message was stored.
    async fn try_store_given_up(&self, envelope: &Arc<Envelope>) -> Result<usize, ClaimError> {
        let mut work = self.begin().await?;
        let handlers: Vec<_> = self.registry.handlers_of(&envelope.name).collect();
        let claims: Vec<_> = handlers.iter().map(|h| (envelope.id, h.name)).collect();
        let fresh = match inbox::claim(&mut work, &claims).await {
            Ok(fresh) => fresh,
            Err(error) => {
                work.rollback().await?;
                return Err(error);
            }
        };
        let tasks: Vec<_> = handlers
            .into_iter()
            .filter(|handler| fresh.contains(&(envelope.id, handler.name.to_owned())))
            .map(|handler| (handler, Task::first(envelope.clone())))
            .collect();
        let stored = tasks.len();
        self.set_aside(&mut work, tasks, |_| Some(Untried::GivenUp))
            .await?;
        work.commit().await?;
        Ok(stored)
    }
}
