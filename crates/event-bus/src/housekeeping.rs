//! Keeps the tables from growing without end, and checks that the bus may use them.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::conditions::Conditions;
use crate::settings::BusSettings;
use crate::{dead_letters, inbox, privileges, replicas, sessions};

const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// While something keeps it from its work, such as a schema that is not migrated yet: the pause
/// before the first retry, which doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The conditions it raises.
const HOUSEKEEPING: &str = "house-keeping";
const PRIVILEGES: &str = "database privileges";

/// Checks privileges, makes and empties the inbox's partitions, and deletes old dead letters and
/// tombstones of replicas: now and every hour, until shut down.
pub(crate) async fn run(
    pool: PgPool,
    settings: BusSettings,
    conditions: Conditions,
    shutdown: CancellationToken,
) {
    let mut retry = FIRST_RETRY;
    while !shutdown.is_cancelled() {
        // The check comes first: a missing privilege explains why the rest fails.
        let may_work = check_privileges(&pool, &conditions).await;
        let kept = keep(&pool, &settings).await;
        match &kept {
            Ok(()) => conditions.clear(HOUSEKEEPING),
            Err(error) => conditions.raise(HOUSEKEEPING, format!("{error}; retrying")),
        }
        let pause = if may_work && kept.is_ok() {
            retry = FIRST_RETRY;
            INTERVAL
        } else {
            let pause = retry;
            retry = (retry * 2).min(LONGEST_RETRY);
            pause
        };
        shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await;
    }
}

/// Returns whether the role has the privileges that the bus needs.
async fn check_privileges(pool: &PgPool, conditions: &Conditions) -> bool {
    match privileges::missing(pool).await {
        Ok(None) => {
            conditions.clear(PRIVILEGES);
            true
        }
        Ok(Some(missing)) => {
            conditions.raise(PRIVILEGES, missing);
            false
        }
        // An unreachable database is reported by those who need it.
        Err(_) => false,
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
