//! The keys that sign access tokens.
//!
//! They are made by the service itself at its first start and kept in its database, so that
//! nothing has to be set up and all instances sign alike. What protects them is what protects the
//! database: the private halves can be read by identity's role alone, and by whoever reads a
//! backup. Whoever has one can sign as anybody.
//!
//! Several keys may be in the published set: one signs, retired ones are still trusted until the
//! tokens they signed are over. To change keys, set `retired_at` of the signing one; within a
//! minute every instance signs with a new one, and verifiers fetch the set when they first meet it.

mod http;
mod ring;
mod signing_key;
mod storage;

use std::time::Duration;

use anyhow::Context;
use service_host::App;

use crate::Identity;

pub(crate) use http::routes;
pub(crate) use ring::KeyRing;
use signing_key::SigningKey;

/// How often other instances' changes of keys are looked for.
const RELOAD: Duration = Duration::from_secs(60);

/// Loads the keys, and makes one if none signs.
pub(crate) async fn load(app: &App<Identity>) -> anyhow::Result<()> {
    if !storage::has_active(&app.pool).await? {
        let key = SigningKey::generate().context("a signing key can't be made")?;
        // Of several instances that start at once, one gets its key in.
        if storage::insert(&app.pool, &key).await? {
            tracing::info!(kid = key.kid(), "made a signing key");
        }
    }
    let keys = storage::published(&app.pool).await?;
    app.state.keys.replace(keys)?;
    app.tokens.trust(&app.state.keys.jwk_set()?);
    Ok(())
}

/// Follows the changes of keys for as long as the service runs.
pub(crate) async fn keep_current(app: App<Identity>) {
    loop {
        tokio::time::sleep(RELOAD).await;
        if let Err(error) = load(&app).await {
            // The keys at hand are still good.
            tracing::warn!(
                error = format!("{error:#}"),
                "the signing keys can't be reloaded"
            );
        }
    }
}
