//! Waiting for a condition, with a bound.

use std::time::Duration;

/// The pause after the first look; it doubles up to [`LONGEST_PAUSE`], so that quick things are
/// seen quickly and slow ones are not asked for all the time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Asks `check` again and again until it answers `Some`, and gives that back.
///
/// # Panics
///
/// When `within` is over, naming `what` was waited for. A `check` that hangs counts too.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> T {
    let polling = async {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(seen) = check().await {
                return seen;
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    };
    tokio::time::timeout(within, polling)
        .await
        .unwrap_or_else(|_| panic!("waited {within:?} in vain until {what}"))
}
