//! `migrate`: brings the schema up to date and ends.

use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use crate::cli::MigrateConfig;
use crate::database;
use crate::service::Service;

/// How long the database is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
const RETRY: Duration = Duration::from_millis(500);

/// Migrates the bus's tables and the service's.
///
/// # Errors
///
/// If the database does not come within two minutes, or a migration fails.
pub(crate) async fn run<S: Service>(config: &MigrateConfig) -> anyhow::Result<()> {
    let (pool, _) = database::connect_lazily(S::NAME, &config.database)?;
    wait_for(&pool).await?;
    event_bus::migrate(&pool)
        .await
        .context("the migrations of the bus failed")?;
    event_bus::run_migrations(&pool, S::migrator())
        .await
        .context("the migrations of the service failed")?;
    tracing::info!(service = S::NAME, "the schema is current");
    pool.close().await;
    Ok(())
}

async fn wait_for(pool: &PgPool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut waiting = false;
    while let Err(error) = database::ping(pool).await {
        let is_final = !crate::database_error::is_passing(&error);
        if is_final || Instant::now() >= deadline {
            return Err(error).context("the database can't be reached");
        }
        if !std::mem::replace(&mut waiting, true) {
            tracing::info!("waiting for the database");
        }
        sleep(RETRY).await;
    }
    Ok(())
}
