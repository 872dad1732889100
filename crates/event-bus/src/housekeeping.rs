//! Keeps the tables from growing without end.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::inbox;
use crate::settings::BusSettings;

const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// After the database failed.
const RETRY: Duration = Duration::from_secs(30);

/// Looks after the inbox's partitions, now and every hour, until shut down.
pub(crate) async fn run(pool: PgPool, settings: BusSettings, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let pause = match inbox::keep(&pool, settings.inbox_retention).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "could not look after the inbox, trying again");
                RETRY
            }
        };
        shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await;
    }
}
