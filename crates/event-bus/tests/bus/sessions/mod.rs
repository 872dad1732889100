//! Database sessions: dropped futures, pools that others use too, and a schema that changes.

mod dropping;
mod outdated;
mod shared;

use sqlx::{Executor as _, PgPool};

/// Leaves every session of the pool that nobody uses in an open transaction, in which the given
/// statement was tried.
async fn leave_open(pool: &PgPool, statement: &'static str) {
    let mut sessions = vec![pool.acquire().await.expect("a session")];
    while let Some(session) = pool.try_acquire() {
        sessions.push(session);
    }
    for session in &mut sessions {
        // Either may fail: a failed transaction is one of the states that a session can be left in.
        drop(session.execute("begin").await);
        drop(session.execute(statement).await);
    }
}

/// A pool with all the sessions it may have.
async fn full_pool(url: &str, sessions: u32) -> PgPool {
    sqlx::postgres::PgPoolOptions::new()
        .min_connections(sessions)
        .max_connections(sessions)
        .connect(url)
        .await
        .expect("a pool")
}
