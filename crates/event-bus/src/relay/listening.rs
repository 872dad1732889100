//! Notifications of what other instances have committed.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Executor as _, PgPool};
use tokio::time::timeout;

use super::{Relay, lock};
use crate::lease::in_time;

/// After this time without a notification, the connection is checked: a network that was cut
/// silently gives no error.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// After the connection failed. Meanwhile the relay finds new messages at each poll.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Wakes the relay at each notification, over as many connections as it takes.
pub(super) async fn listen(relay: &Relay) -> Infallible {
    loop {
        let error = match listen_once(relay).await {
            Ok(never) => return never,
            Err(error) => error,
        };
        tracing::debug!(%error, "the relay's notifications are lost; reconnecting");
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn listen_once(relay: &Relay) -> Result<Infallible, sqlx::Error> {
    let channel = lock::channel(&relay.pool).await?;
    let mut listener = in_time(connect(&relay.pool)).await?;
    in_time(listener.listen(&channel)).await?;
    loop {
        // The first time, too: what was committed before this connection listened went unheard. And
        // where it was lost and made anew, without a notification.
        relay.publisher.relay.ring();
        relay.publisher.clock.ring();
        loop {
            match timeout(CHECK_INTERVAL, listener.try_recv()).await {
                Ok(received) => {
                    received?;
                    break;
                }
                Err(_) => in_time(listener.execute("select 1")).await?,
            };
        }
    }
}

/// A listener on a session of its own. A session of the pool may be in a transaction that other code
/// has left open, and LISTEN takes effect only when that commits.
async fn connect(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let options = pool.connect_options();
    let own = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options.as_ref().clone());
    let mut listener = PgListener::connect_with(&own).await?;
    listener.ignore_pool_close_event(true);
    Ok(listener)
}
