//! Where the keys are kept.

use anyhow::Context;
use sqlx::{PgPool, query, query_scalar};

use super::signing_key::SigningKey;

/// Whether some key signs.
pub(super) async fn has_active(pool: &PgPool) -> Result<bool, sqlx::Error> {
    query_scalar!(
        r#"select exists (select from signing_keys where retired_at is null) as "exists!""#
    )
    .fetch_one(pool)
    .await
}

/// Makes this the signing key, unless there is one. Says whether it was.
pub(super) async fn insert(pool: &PgPool, key: &SigningKey) -> Result<bool, sqlx::Error> {
    let done = query!(
        "insert into signing_keys (kid, private_key) values ($1, $2) on conflict do nothing",
        key.kid(),
        key.pkcs8(),
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The key that signs, and those that signed tokens which are not over yet: an access token lasts
/// a quarter of an hour, and clocks differ.
pub(super) async fn published(pool: &PgPool) -> anyhow::Result<Vec<SigningKey>> {
    let keys = query_scalar!(
        "select private_key from signing_keys
         where retired_at is null or retired_at > now() - interval '1 hour'
         order by retired_at desc nulls first"
    )
    .fetch_all(pool)
    .await?;
    keys.into_iter()
        .map(|pkcs8| SigningKey::from_pkcs8(pkcs8).context("a stored signing key is unusable"))
        .collect()
}
