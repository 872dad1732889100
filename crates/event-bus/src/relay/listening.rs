//! Notifications of what other instances have committed.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::PgListener;
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
    let mut listener = in_time(PgListener::connect_with(&relay.pool)).await?;
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
