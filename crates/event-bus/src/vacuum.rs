//! The space of rows that came and went.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;

use crate::{outbox, retries, sessions};

/// A vacuum waits for this many times as long as the last one took. Of a long table it takes a while,
/// and ever longer while a transaction somewhere that stays open keeps it from freeing anything.
const REST: u32 = 29;

/// A table whose rows live shortly.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    Outbox,
    Retries,
}

impl Table {
    /// Deleted rows that are worth a vacuum. It takes some ten milliseconds then.
    const fn rows(self) -> usize {
        match self {
            Self::Outbox => 20_000,
            // Looked for one by one, each past all that are deleted.
            Self::Retries => 2_000,
        }
    }
}

/// Lets a table use its space again as soon as a burst has left some.
///
/// PostgreSQL does the same, but looks only once a minute by default. By then a busy bus has left
/// a million dead rows, and reads past them.
#[derive(Debug)]
pub(crate) struct Vacuum {
    pool: PgPool,
    table: Table,
    deleted: usize,
    running: Option<AbortOnDropHandle<Duration>>,
    rests_until: Option<Instant>,
}

impl Vacuum {
    pub(crate) fn new(pool: PgPool, table: Table) -> Self {
        Self {
            pool,
            table,
            deleted: 0,
            running: None,
            rests_until: None,
        }
    }

    /// Takes note of deleted rows, and begins to clear them away when there are enough.
    pub(crate) async fn note(&mut self, deleted: usize) {
        self.deleted += deleted;
        if self.deleted < self.table.rows() {
            return;
        }
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            let took = running.await.unwrap_or_default();
            self.rests_until = Some(Instant::now() + took * REST);
        }
        let rests = self.rests_until.is_some_and(|until| Instant::now() < until);
        if self.running.is_none() && !rests {
            self.deleted = 0;
            let run = run(self.pool.clone(), self.table);
            self.running = Some(AbortOnDropHandle::new(tokio::spawn(run)));
        }
    }
}

/// Vacuums, and says how long that took.
async fn run(pool: PgPool, table: Table) -> Duration {
    let started = Instant::now();
    let vacuumed = match table {
        Table::Outbox => outbox::vacuum(&pool).await,
        Table::Retries => sessions::run!(&pool, |connection| retries::vacuum(connection)),
    };
    if let Err(error) = vacuumed {
        tracing::debug!(%error, ?table, "could not vacuum, which autovacuum will do");
    }
    started.elapsed()
}
