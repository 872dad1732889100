//! Slows down whoever guesses passwords.
//!
//! Counted by user name, whether or not there is such a user, in the database: all instances
//! count together, and a restart forgets nothing. Five failures in a row are free; then the name
//! is blocked, for half a minute at first and twice as long after each further failure, up to the
//! quarter of an hour after which failures are forgotten anyway. So somebody can be kept out by a
//! guesser, for that long at most.

use std::time::Duration;

use service_host::Problem;
use sqlx::PgPool;

use super::storage;

const FREE_FAILURES: i32 = 5;
const FIRST_BLOCK: Duration = Duration::from_secs(30);
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Refuses with 429 while the name is blocked.
pub(super) async fn check(pool: &PgPool, user_name: &str) -> Result<(), Problem> {
    match storage::blocked_for(pool, user_name).await? {
        Some(seconds) => {
            let wait = Duration::from_secs(seconds.unsigned_abs().max(1));
            Err(Problem::too_many_requests(wait)
                .with_detail("Too many wrong passwords for this user name."))
        }
        None => Ok(()),
    }
}

/// Notes a failure.
pub(super) async fn failed(pool: &PgPool, user_name: &str) -> Result<(), sqlx::Error> {
    let failures = storage::count_failure(pool, user_name, MEMORY.as_secs_f64()).await?;
    match block_after(failures) {
        Some(block) => storage::block(pool, user_name, block.as_secs_f64()).await,
        None => Ok(()),
    }
}

/// Notes a success.
pub(super) async fn succeeded(pool: &PgPool, user_name: &str) -> Result<(), sqlx::Error> {
    storage::forget_failures(pool, user_name).await
}

/// How long a name is blocked after so many failures in a row.
fn block_after(failures: i32) -> Option<Duration> {
    let further = u32::try_from(failures.checked_sub(FREE_FAILURES)?).ok()?;
    let doubled = FIRST_BLOCK.saturating_mul(2_u32.saturating_pow(further));
    Some(doubled.min(MEMORY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_failure_blocks_and_each_further_one_twice_as_long() {
        assert_eq!(block_after(4), None);
        assert_eq!(block_after(5), Some(Duration::from_secs(30)));
        assert_eq!(block_after(6), Some(Duration::from_secs(60)));
        assert_eq!(block_after(100), Some(MEMORY));
        assert_eq!(block_after(i32::MAX), Some(MEMORY));
    }
}
