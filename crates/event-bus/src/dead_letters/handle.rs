//! What an operator can do with dead letters.

use uuid::Uuid;

use super::letter::{DeadLetterDetails, DeadLetterFilter, DeadLetterSummary};
use super::storage;
use crate::bus::EventBus;
use crate::sessions;

/// The dead letters of a service, from [`EventBus::dead_letters`]. Cloning it is cheap.
///
/// Every instance of a service sees the same letters, and any of them may replay or discard them,
/// also several at the same time.
///
/// ```
/// use event_bus::EventBus;
/// use event_bus::dead_letters::{BulkMode, DeadLetterFilter, DeadLetterReason};
///
/// /// Tries what was given up on again, now that the reason for it is gone.
/// async fn replay(bus: &EventBus) -> Result<(), sqlx::Error> {
///     let letters = bus.dead_letters();
///     let filter = DeadLetterFilter {
///         handler: Some("ReserveStock".to_owned()),
///         reason: Some(DeadLetterReason::RetriesExhausted),
///         ..DeadLetterFilter::default()
///     };
///     let plan = letters.replay_all(&filter, BulkMode::DryRun).await?;
///     println!("{} of {} can be replayed", plan.replayed, plan.matching);
///     letters.replay_all(&filter, BulkMode::Apply).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct DeadLetters {
    pub(super) bus: EventBus,
}

/// Whether to do something to many letters, or to look what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkMode {
    /// Nothing is changed; the report says what would be done now.
    DryRun,
    /// It is done, page by page: each page of some hundred letters is a transaction of its own.
    Apply,
}

impl DeadLetters {
    pub(crate) fn of(bus: EventBus) -> Self {
        Self { bus }
    }

    /// Letters that match, newest first, at most `limit` of them.
    ///
    /// For the next page, `after` is the [`id`](DeadLetterSummary::id) of the last letter of this
    /// one. Letters that come or go meanwhile make no other letter appear twice or not at all.
    ///
    /// # Errors
    ///
    /// If the database fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn list(
        &self,
        filter: &DeadLetterFilter,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>, sqlx::Error> {
        sessions::transact!(&self.bus.pool, |connection| async {
            storage::plan_for_filters(connection).await?;
            storage::list(connection, filter, after, limit.into()).await
        })
    }

    /// How many letters match.
    ///
    /// # Errors
    ///
    /// If the database fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn count(&self, filter: &DeadLetterFilter) -> Result<u64, sqlx::Error> {
        sessions::transact!(&self.bus.pool, |connection| async {
            storage::plan_for_filters(connection).await?;
            storage::count(connection, filter).await
        })
    }

    /// Everything of one letter, or `None` if it is not, or no longer, there.
    ///
    /// # Errors
    ///
    /// If the database fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn show(&self, id: Uuid) -> Result<Option<DeadLetterDetails>, sqlx::Error> {
        sessions::run!(&self.bus.pool, |connection| storage::show(connection, id))
    }
}
