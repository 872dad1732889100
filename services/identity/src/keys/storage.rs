//! All SQL about signing keys.

use anyhow::Context;
use sqlx::{PgPool, query, query_scalar};

use super::signing_key::SigningKey;

/// Whether there is a key that is not retired.
pub(super) async fn has_active(pool: &PgPool) -> Result<bool, sqlx::Error> {
    query_scalar!(
        r#"select exists (select from signing_keys where retired_at is null) as "exists!""#
    )
    .fetch_one(pool)
    .await
}

/// Stores the key as the signing key, unless there is one. Returns whether it was stored.
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

/// The signing key, followed by the retired keys whose tokens may not have expired yet.
///
/// An access token is valid for 15 minutes. The rest of the hour allows for clock differences.
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
