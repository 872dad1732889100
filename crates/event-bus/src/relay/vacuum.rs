//! The space of what the relay has deleted.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;

use crate::outbox;

/// Deleted rows that are worth a vacuum. It takes some ten milliseconds then.
const ROWS: usize = 20_000;
/// A vacuum waits for this many times as long as the last one took: a transaction somewhere that
/// stays open keeps it from freeing anything, and it takes longer each time.
const REST: u32 = 9;

/// Lets the outbox use its space again as soon as a burst has left some.
///
/// PostgreSQL does the same, but looks only once a minute by default. By then a busy relay has
/// left a million dead rows, and reads past them.
#[derive(Debug)]
pub(super) struct Vacuum {
    pool: PgPool,
    deleted: usize,
    running: Option<AbortOnDropHandle<Duration>>,
    rests_until: Option<Instant>,
}

impl Vacuum {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            deleted: 0,
            running: None,
            rests_until: None,
        }
    }

    /// Takes note of deleted rows, and begins to clear them away when there are enough.
    pub(super) async fn note(&mut self, deleted: usize) {
        self.deleted += deleted;
        if self.deleted < ROWS {
            return;
        }
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            let took = running.await.unwrap_or_default();
            self.rests_until = Some(Instant::now() + took * REST);
        }
        let rests = self.rests_until.is_some_and(|until| Instant::now() < until);
        if self.running.is_none() && !rests {
            self.deleted = 0;
            let run = run(self.pool.clone());
            self.running = Some(AbortOnDropHandle::new(tokio::spawn(run)));
        }
    }
}

/// Vacuums, and says how long that took.
async fn run(pool: PgPool) -> Duration {
    let started = Instant::now();
    if let Err(error) = outbox::vacuum(&pool).await {
        tracing::debug!(%error, "could not vacuum the outbox, which autovacuum will do");
    }
    started.elapsed()
}
