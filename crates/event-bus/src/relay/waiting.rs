//! Whether messages wait although nothing seems to be wrong.

use std::convert::Infallible;
use std::time::Duration;

use super::Relay;
use crate::lease::in_time;
use crate::outbox;

const INTERVAL: Duration = Duration::from_secs(5);
/// Messages stay in the outbox for milliseconds when nothing is wrong.
const LONG: Duration = Duration::from_secs(60);
const SUBJECT: &str = "outbox";

/// Watches the age of the first message, on every instance: what keeps messages waiting may be the
/// instance that leads.
pub(super) async fn watch(relay: &Relay) -> Infallible {
    loop {
        // A database that fails is reported by the relay itself.
        if let Ok(age) = in_time(outbox::age(&relay.pool)).await {
            if age >= LONG && relay.transport.connected() {
                let reason = format!(
                    "messages have waited for {} s although the broker is connected",
                    age.as_secs()
                );
                relay.conditions.raise(SUBJECT, reason);
            } else {
                relay.conditions.clear(SUBJECT);
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
