//! Slows down password guessing.
//!
//! Failures are counted per user name, whether or not the user exists. The counts are in the
//! database, so all instances share them and they survive a restart. The fifth failure in a row
//! blocks the name for 30 seconds, and each further failure doubles that time, up to 15 minutes.
//! After 15 minutes without a failure the count expires. An attacker can therefore lock a user
//! out, but for at most 15 minutes after the last guess.

use std::time::Duration;

use service_host::Problem;
use sqlx::PgPool;

use super::storage;

const FREE_FAILURES: i32 = 5;
const FIRST_BLOCK: Duration = Duration::from_secs(30);
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Returns a 429 problem while the name is blocked.
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

/// Records a failed sign-in.
pub(super) async fn failed(pool: &PgPool, user_name: &str) -> Result<(), sqlx::Error> {
    let failures = storage::count_failure(pool, user_name, MEMORY.as_secs_f64()).await?;
    match block_after(failures) {
        Some(block) => storage::block(pool, user_name, block.as_secs_f64()).await,
        None => Ok(()),
    }
}

/// Records a successful sign-in.
pub(super) async fn succeeded(pool: &PgPool, user_name: &str) -> Result<(), sqlx::Error> {
    storage::delete_failures(pool, user_name).await
}

/// How long a name is blocked after this many failures in a row.
fn block_after(failures: i32) -> Option<Duration> {
    let further = u32::try_from(failures.checked_sub(FREE_FAILURES)?).ok()?;
    let doubled = FIRST_BLOCK.saturating_mul(2_u32.saturating_pow(further));
    Some(doubled.min(MEMORY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_failure_blocks_and_each_further_one_doubles_the_time() {
        assert_eq!(block_after(4), None);
        assert_eq!(block_after(5), Some(Duration::from_secs(30)));
        assert_eq!(block_after(6), Some(Duration::from_secs(60)));
        assert_eq!(block_after(100), Some(MEMORY));
        assert_eq!(block_after(i32::MAX), Some(MEMORY));
    }
}
