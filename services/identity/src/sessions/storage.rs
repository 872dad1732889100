//! All SQL about sessions and failed sign-ins.

use sqlx::{PgConnection, PgPool, query, query_as, query_scalar};
use uuid::Uuid;

use super::refresh_token::RefreshToken;
use crate::users::UserId;

/// Days from the last refresh of a session to its expiry.
const SESSION_DAYS: i32 = 14;

/// A stored refresh token and its session.
pub(super) struct Found {
    pub(super) session_id: Uuid,
    pub(super) user_id: Uuid,
    /// Whether the token has been exchanged already.
    pub(super) is_used: bool,
    pub(super) is_expired: bool,
}

/// Inserts a session with its first token.
pub(super) async fn begin(
    connection: &mut PgConnection,
    user: UserId,
    token: &RefreshToken,
) -> Result<(), sqlx::Error> {
    query!(
        "with session as (
             insert into sessions (id, user_id, expires_at)
             values ($1, $2, now() + make_interval(days => $3))
             returning id
         )
         insert into refresh_tokens (hash, session_id) select $4, id from session",
        Uuid::now_v7(),
        user.0,
        SESSION_DAYS,
        token.hash(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Finds a token, and locks it and its session until the unit of work ends. Of two concurrent
/// exchanges, the second one finds the token used.
pub(super) async fn find_for_update(
    connection: &mut PgConnection,
    token: &RefreshToken,
) -> Result<Option<Found>, sqlx::Error> {
    query_as!(
        Found,
        r#"select session.id as session_id, session.user_id,
                  token.used_at is not null as "is_used!",
                  session.expires_at <= now() as "is_expired!"
           from refresh_tokens token join sessions session on session.id = token.session_id
           where token.hash = $1
           for update"#,
        token.hash(),
    )
    .fetch_optional(connection)
    .await
}

/// Replaces a token with the next one of its session, and extends the session.
pub(super) async fn rotate(
    connection: &mut PgConnection,
    session_id: Uuid,
    used: &RefreshToken,
    next: &RefreshToken,
) -> Result<(), sqlx::Error> {
    query!(
        "update refresh_tokens set used_at = now() where hash = $1",
        used.hash()
    )
    .execute(&mut *connection)
    .await?;
    query!(
        "insert into refresh_tokens (hash, session_id) values ($1, $2)",
        next.hash(),
        session_id,
    )
    .execute(&mut *connection)
    .await?;
    query!(
        "update sessions set expires_at = now() + make_interval(days => $2) where id = $1",
        session_id,
        SESSION_DAYS,
    )
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Deletes a session, which makes all its refresh tokens invalid.
pub(super) async fn end(
    connection: &mut PgConnection,
    session_id: Uuid,
) -> Result<(), sqlx::Error> {
    query!("delete from sessions where id = $1", session_id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes the session of a token, if the token is known.
pub(super) async fn end_by_token(pool: &PgPool, token: &RefreshToken) -> Result<(), sqlx::Error> {
    query!(
        "delete from sessions
         where id = (select session_id from refresh_tokens where hash = $1)",
        token.hash(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Deletes all sessions of a user.
pub(crate) async fn end_all_of(
    connection: &mut PgConnection,
    user: UserId,
) -> Result<(), sqlx::Error> {
    query!("delete from sessions where user_id = $1", user.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes expired sessions and expired counts of failed sign-ins.
pub(super) async fn delete_expired(pool: &PgPool) -> Result<(), sqlx::Error> {
    query!("delete from sessions where expires_at <= now()")
        .execute(pool)
        .await?;
    query!("delete from failed_sign_ins where expires_at <= now()")
        .execute(pool)
        .await?;
    Ok(())
}

/// Seconds for which this user name is still blocked, rounded up; `None` if it is not blocked.
pub(super) async fn blocked_for(
    pool: &PgPool,
    user_name: &str,
) -> Result<Option<i64>, sqlx::Error> {
    query_scalar!(
        r#"select ceil(extract(epoch from blocked_until - now()))::bigint as "seconds!"
           from failed_sign_ins
           where user_name = lower($1) and blocked_until > now()"#,
        user_name,
    )
    .fetch_optional(pool)
    .await
}

/// Counts a failed sign-in, and returns the number of failures in a row.
///
/// The count expires `memory` seconds after the last failure.
pub(super) async fn count_failure(
    pool: &PgPool,
    user_name: &str,
    memory: f64,
) -> Result<i32, sqlx::Error> {
    query_scalar!(
        r#"insert into failed_sign_ins as known (user_name, failures, blocked_until, expires_at)
         values (lower($1), 1, now(), now() + make_interval(secs => $2))
         on conflict (user_name) do update
         set failures = case when known.expires_at <= now() then 1 else known.failures + 1 end,
             expires_at = excluded.expires_at
         returning failures::int as "failures!""#,
        user_name,
        memory,
    )
    .fetch_one(pool)
    .await
}

/// Blocks this user name for `seconds`.
pub(super) async fn block(pool: &PgPool, user_name: &str, seconds: f64) -> Result<(), sqlx::Error> {
    query!(
        "update failed_sign_ins set blocked_until = now() + make_interval(secs => $2)
         where user_name = lower($1)",
        user_name,
        seconds,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Deletes the count of failures, after a successful sign-in.
pub(super) async fn delete_failures(pool: &PgPool, user_name: &str) -> Result<(), sqlx::Error> {
    query!(
        "delete from failed_sign_ins where user_name = lower($1)",
        user_name
    )
    .execute(pool)
    .await?;
    Ok(())
}
