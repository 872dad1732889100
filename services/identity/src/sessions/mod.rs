//! Signing in, staying signed in, signing out.
//!
//! A sign-in begins a session. Its refresh token is good once: each refresh gives a new one, and
//! one that comes a second time ends the session, because somebody has a copy of it (RFC 9700,
//! section 4.14.2). Access tokens are not kept; they are good until they expire.

mod grant;
mod http;
mod refresh_token;
mod sign_in;
pub(crate) mod storage;
mod throttle;

use std::time::Duration;

use service_host::App;

use crate::Identity;

pub(crate) use http::routes;

/// How often what is over is deleted.
const TIDY: Duration = Duration::from_secs(600);

/// Deletes sessions and failed sign-ins that are over, for as long as the service runs.
pub(crate) async fn keep_tidy(app: App<Identity>) {
    loop {
        if let Err(error) = storage::delete_expired(&app.pool).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what is over can't be deleted; trying again later"
            );
        }
        tokio::time::sleep(TIDY).await;
    }
}
