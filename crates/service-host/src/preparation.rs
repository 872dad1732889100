//! The way from a started process to a prepared service, with servers that may come later.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use event_bus::MigrateError;
use tokio::time::sleep;

use crate::app::App;
use crate::database;
use crate::health::{Progress, Readiness};
use crate::service::Service;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// Tries until the service is prepared.
pub(crate) async fn run<S: Service>(app: App<S>, readiness: Arc<Readiness>) {
    let mut wait = FIRST_RETRY;
    let mut said = String::new();
    while let Err(error) = attempt(&app, &readiness).await {
        // The same reason is given once, not with every attempt.
        let reason = format!("{error:#}");
        if reason != said {
            tracing::warn!(error = reason, "not ready yet; trying again");
            said = reason;
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
    readiness.set(Progress::Prepared);
    tracing::info!("ready");
}

async fn attempt<S: Service>(app: &App<S>, readiness: &Readiness) -> anyhow::Result<()> {
    readiness.set(Progress::WaitingForDatabase);
    database::ping(&app.pool)
        .await
        .context("the database can't be reached")?;
    readiness.set(Progress::WaitingForMigration);
    for migrator in [event_bus::migrator(), S::migrator()] {
        if let Err(error) = event_bus::check_compatible(&app.pool, migrator).await {
            if matches!(error, MigrateError::Incompatible(_)) {
                readiness.set(Progress::IncompatibleSchema);
            }
            return Err(error.into());
        }
        let is_current = database::is_current(&app.pool, migrator)
            .await
            .context("the state of the schema can't be read")?;
        anyhow::ensure!(
            is_current,
            "the schema is not current; run `{} migrate`",
            S::NAME
        );
    }
    readiness.set(Progress::Preparing);
    S::prepare(app)
        .await
        .context("preparing the service failed")
}
