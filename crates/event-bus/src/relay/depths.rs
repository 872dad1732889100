//! How many rows the tables have: reported every few seconds by the instance that leads.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::PgPool;

use crate::lease::in_time;
use crate::signals::{self, Waiting};

const INTERVAL: Duration = Duration::from_secs(5);

/// Reports the depths until dropped.
pub(super) async fn report(pool: &PgPool) -> Infallible {
    let _leading = Leading::begin();
    loop {
        // A database that fails is reported by the relay itself.
        if let Ok(waiting) = in_time(waiting(pool)).await {
            signals::waiting(waiting);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The outbox is as deep as its positions are apart, but for gaps. Elsewhere it counts no further
/// than 10,000: looking must not cost more than what is seen.
async fn waiting(pool: &PgPool) -> Result<Waiting, sqlx::Error> {
    let row = sqlx::query!(
        r#"select
             (select coalesce(max(position) - min(position) + 1, 0) from outbox) as "outbox!",
             coalesce((select extract(epoch from clock_timestamp() - created_at)::float8
                       from outbox order by position limit 1), 0) as "oldest_age!",
             (select count(*) from (select from outbox_scheduled where returned = 0
                                    limit 10000) as counted) as "scheduled!",
             (select count(*) from (select from outbox_scheduled where returned > 0
                                    limit 10000) as counted) as "unroutable!",
             (select count(*) from (select from outbox_refused limit 10000) as counted) as "refused!",
             (select count(*) from (select from inbox_retries limit 10000) as counted) as "retries!",
             (select count(*) from (select from inbox_held_keys limit 10000) as counted) as "held_keys!",
             (select count(*) from (select from dead_letters limit 10000) as counted) as "dead_letters!""#
    )
    .fetch_one(pool)
    .await?;
    Ok(Waiting {
        outbox: row.outbox,
        oldest_age: row.oldest_age,
        scheduled: row.scheduled,
        unroutable: row.unroutable,
        refused: row.refused,
        retries: row.retries,
        held_keys: row.held_keys,
        dead_letters: row.dead_letters,
    })
}

/// Says that this instance leads, until it is dropped.
struct Leading;

impl Leading {
    fn begin() -> Self {
        signals::leading(true);
        Self
    }
}

impl Drop for Leading {
    /// What it told of is for the next leader to tell.
    fn drop(&mut self) {
        signals::leading(false);
        signals::waiting(Waiting::default());
    }
}
