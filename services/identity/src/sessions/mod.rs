//! Sign-in, refresh and sign-out.
//!
//! A sign-in starts a session. A refresh token is valid once, and each refresh returns a new one.
//! Reuse of a refresh token ends the session, because it shows that the token has been copied
//! (RFC 9700, section 4.14.2). Access tokens are not stored; they are valid until they expire.

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

/// How often expired rows are deleted.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(600);

/// Deletes expired sessions and failed sign-ins periodically, for as long as the service runs.
pub(crate) async fn delete_expired_periodically(app: App<Identity>) {
    loop {
        if let Err(error) = storage::delete_expired(&app.pool).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to delete expired sessions and failed sign-ins; retrying later"
            );
        }
        tokio::time::sleep(CLEANUP_INTERVAL).await;
    }
}
