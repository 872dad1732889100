//! Telling that nothing is left to do.

use std::time::{Duration, Instant};

use super::transport::Shared;
use crate::bus::EventBus;
use crate::{outbox, retries, sessions};

const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn wait(shared: &Shared, buses: &[&EventBus], bound: Duration) {
    let deadline = Instant::now() + bound;
    loop {
        let left = match what_is_left(shared, buses).await {
            Ok(None) => return,
            Ok(Some(left)) => left.to_owned(),
            Err(error) => format!("the database fails: {error}"),
        };
        assert!(
            Instant::now() < deadline,
            "not idle after {bound:?}: {left}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// The places that a message can be in are looked at one after the other, while it may go from one
/// to the next; so it counts only if meanwhile nothing has moved. Of the tables those come first
/// from which messages get into the others.
async fn what_is_left(
    shared: &Shared,
    buses: &[&EventBus],
) -> Result<Option<&'static str>, sqlx::Error> {
    let before = shared.record().activity();
    for bus in buses {
        if sessions::run!(&bus.pool, |connection| retries::is_any_due(connection))? {
            return Ok(Some("a message is to be tried again"));
        }
        if outbox::is_any_due(&bus.pool).await? {
            return Ok(Some("an outbox has messages"));
        }
    }
    let record = shared.record();
    if !record.is_quiet() {
        return Ok(Some("a message is not acknowledged"));
    }
    Ok((record.activity() != before).then_some("messages come and go"))
}
