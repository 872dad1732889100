//! Many letters in transactions of a bounded size.

use sqlx::PgPool;
use uuid::Uuid;

use super::handle::BulkMode;
use super::letter::DeadLetterFilter;
use super::storage;
use crate::sessions::{self, Session};

/// The most letters of one transaction.
pub(super) const PAGE: i64 = 500;

/// The letters that match a filter, oldest first, page by page.
pub(super) struct Pages<'a> {
    pool: &'a PgPool,
    filter: &'a DeadLetterFilter,
    mode: BulkMode,
    after: Uuid,
    /// The newest letter when it began: what is replayed and dies again must not come once more.
    last: Uuid,
}

impl<'a> Pages<'a> {
    pub(super) async fn open(
        pool: &'a PgPool,
        filter: &'a DeadLetterFilter,
        mode: BulkMode,
    ) -> Result<Self, sqlx::Error> {
        let newest = sessions::transact!(pool, |connection| async {
            storage::plan_for_filters(connection).await?;
            storage::list(connection, filter, None, 1).await
        })?;
        Ok(Self {
            pool,
            filter,
            mode,
            after: Uuid::nil(),
            last: newest.first().map_or(Uuid::nil(), |letter| letter.id),
        })
    }

    /// The next page, with its transaction. What others have taken away meanwhile is not on it,
    /// and unless it is a dry run, what is on it stays until the transaction ends.
    pub(super) async fn next(&mut self) -> Result<Option<(Session, Vec<Uuid>)>, sqlx::Error> {
        let mut transaction = Session::begin(self.pool).await?;
        storage::plan_for_filters(&mut transaction).await?;
        let ids = storage::page(&mut transaction, self.filter, self.after, self.last, PAGE).await?;
        let Some(newest) = ids.last() else {
            return Ok(None);
        };
        self.after = *newest;
        let ids = match self.mode {
            BulkMode::DryRun => ids,
            BulkMode::Apply => storage::lock(&mut transaction, &ids).await?,
        };
        Ok(Some((transaction, ids)))
    }
}
