//! Keeps the tables from growing without end.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::settings::BusSettings;
use crate::{dead_letters, inbox, replicas, sessions};

const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// After the database failed.
const RETRY: Duration = Duration::from_secs(30);

/// Looks after the inbox's partitions, old dead letters and the ends of replicas' entities, now and every hour, until shut down.
pub(crate) async fn run(pool: PgPool, settings: BusSettings, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let pause = match keep(&pool, &settings).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "could not look after the tables, trying again");
                RETRY
            }
        };
        shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await;
    }
}

/// Does each part, also when another one failed.
async fn keep(pool: &PgPool, settings: &BusSettings) -> Result<(), sqlx::Error> {
    let inbox = sessions::transact!(pool, |connection| inbox::keep(
        connection,
        settings.inbox_retention
    ));
    let (letters, tombstones) = match settings.dead_letter_retention {
        Some(retention) => {
            // A letter that is as old as the end of its entity, or a little younger, could be
            // replayed until then.
            let longest = retention.saturating_add(settings.inbox_retention);
            let letters = dead_letters::expire(pool, retention).await;
            let tombstones = sessions::transact!(pool, |connection| replicas::purge_tombstones(
                connection, longest
            ));
            (letters, tombstones)
        }
        None => (Ok(()), Ok(())),
    };
    inbox.and(letters).and(tombstones)
}
