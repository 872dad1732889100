//! Forgetting dead letters: by hand, or after their time.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::handle::{BulkMode, DeadLetters};
use super::letter::DeadLetterFilter;
use super::pages::{PAGE, Pages};
use super::storage;
use crate::interval::interval;
use crate::{held_keys, sessions, signals};

impl DeadLetters {
    /// Forgets a letter for good. Returns whether it was there.
    ///
    /// If it held back others of its key, in an ordered group, they go on.
    ///
    /// # Errors
    ///
    /// If the database fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the dead letter is deleted or it is not, in one transaction.
    pub async fn discard(&self, id: Uuid) -> Result<bool, sqlx::Error> {
        let discarded = sessions::transact!(&self.bus.pool, |connection| discard_within(
            connection,
            &[id]
        ))?;
        self.tell_discarded(discarded);
        Ok(discarded > 0)
    }

    /// Forgets the letters that match for good, the oldest first. Returns how many there were, in
    /// a dry run how many there are.
    ///
    /// # Errors
    ///
    /// If the database fails. What was discarded before stays so; call it again.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the pages that were committed stay deleted, and the next call
    /// continues.
    pub async fn discard_all(
        &self,
        filter: &DeadLetterFilter,
        mode: BulkMode,
    ) -> Result<u64, sqlx::Error> {
        if mode == BulkMode::DryRun {
            return self.count(filter).await;
        }
        let mut all = 0;
        let mut pages = Pages::open(&self.bus.pool, filter, mode).await?;
        while let Some((mut transaction, ids)) = pages.next().await? {
            let discarded = discard_within(&mut transaction, &ids).await?;
            transaction.commit().await?;
            self.tell_discarded(discarded);
            all += discarded;
        }
        Ok(all)
    }

    fn tell_discarded(&self, discarded: u64) {
        // Messages that a letter held back are due now.
        self.bus.groups.wake_retriers();
        signals::dead_letters_removed("discarded", discarded);
    }
}

/// Forgets letters that have been here for longer than this; what they held back goes on.
pub(crate) async fn expire(pool: &PgPool, retention: Duration) -> Result<(), sqlx::Error> {
    let retention = interval(retention);
    let mut all = 0;
    let ended = loop {
        match expire_page(pool, retention).await {
            Ok(0) => break Ok(()),
            Ok(expired) => all += expired,
            Err(error) => break Err(error),
        }
    };
    if all > 0 {
        tracing::warn!(
            letters = all,
            "dead letters that nobody has replayed were forgotten after their time"
        );
    }
    ended
}

async fn expire_page(pool: &PgPool, retention: PgInterval) -> Result<u64, sqlx::Error> {
    let expired = sessions::transact!(pool, |connection| async {
        let ids = storage::lock_expired(connection, retention, PAGE).await?;
        discard_within(connection, &ids).await
    })?;
    signals::dead_letters_removed("expired", expired);
    Ok(expired)
}

/// Forgets letters, within the transaction of whatever else their end means. Every letter that is
/// not replayed ends here.
async fn discard_within(connection: &mut PgConnection, ids: &[Uuid]) -> Result<u64, sqlx::Error> {
    for (handler, message_id) in held_keys::held_by_letters(connection, ids).await? {
        held_keys::advance(connection, &handler, message_id).await?;
    }
    storage::delete(connection, ids).await
}
