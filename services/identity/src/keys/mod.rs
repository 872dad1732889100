//! The keys that sign access tokens.
//!
//! The service generates them at its first start and stores them in its database, so they need no
//! setup and all instances sign with the same key. The keys are only as safe as the database:
//! identity's database role is the only one that can read the private keys, but a backup contains
//! them, too. With a private key, an attacker can sign a token for any user.
//!
//! The published set may contain several keys. One key signs. Retired keys stay trusted until the
//! tokens that they signed have expired. To rotate keys, set `retired_at` of the signing key:
//! within a minute every instance signs with a new key. Verifiers fetch the set when they first
//! receive a token signed with it.

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

/// How often the keys are reloaded, to pick up changes made by other instances.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// Loads the keys, and generates one if there is no signing key.
pub(crate) async fn load(app: &App<Identity>) -> anyhow::Result<()> {
    if !storage::has_active(&app.pool).await? {
        let key = SigningKey::generate().context("failed to generate a signing key")?;
        // If several instances start at once, only one of them stores its key.
        if storage::insert(&app.pool, &key).await? {
            tracing::info!(kid = key.kid(), "generated a signing key");
        }
    }
    let keys = storage::published(&app.pool).await?;
    app.state.keys.replace(keys)?;
    app.tokens.trust(&app.state.keys.jwk_set()?);
    Ok(())
}

/// Reloads the keys periodically, for as long as the service runs.
pub(crate) async fn reload_periodically(app: App<Identity>) {
    loop {
        tokio::time::sleep(RELOAD_INTERVAL).await;
        if let Err(error) = load(&app).await {
            // The keys in memory stay valid.
            tracing::warn!(
                error = format!("{error:#}"),
                "failed to reload the signing keys; retrying later"
            );
        }
    }
}
