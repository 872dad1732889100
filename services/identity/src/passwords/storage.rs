//! All SQL about password hashes.

use sqlx::{PgConnection, PgPool, query, query_scalar};

use super::PasswordHash;
use crate::users::UserId;

/// Sets or replaces the password of a user.
pub(crate) async fn set(
    connection: &mut PgConnection,
    user: UserId,
    hash: &PasswordHash,
) -> Result<(), sqlx::Error> {
    query!(
        "insert into passwords (user_id, hash) values ($1, $2)
         on conflict (user_id) do update set hash = excluded.hash",
        user.0,
        hash.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Finds the hash of a user's password.
pub(crate) async fn find(pool: &PgPool, user: UserId) -> Result<Option<PasswordHash>, sqlx::Error> {
    let hash = query_scalar!("select hash from passwords where user_id = $1", user.0)
        .fetch_optional(pool)
        .await?;
    Ok(hash.map(PasswordHash::stored))
}
