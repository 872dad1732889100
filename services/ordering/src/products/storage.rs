//! The replica of products: all its SQL.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Product;
use crate::ids::ProductId;

/// Keeps what came, unless something newer, or the deletion of the same version, is there.
///
/// The bus compares the versions of what comes over it. This is for what was asked for over HTTP,
/// which the bus knows nothing of.
pub(crate) async fn keep(
    connection: &mut PgConnection,
    product: &Product,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into products (id, name, price, version, deleted)
         values ($1, $2, $3, $4, $5)
         on conflict (id) do update
         set name = excluded.name, price = excluded.price,
             version = excluded.version, deleted = excluded.deleted
         where products.version < excluded.version
            or products.version = excluded.version and not products.deleted",
        product.id as ProductId,
        product.name,
        product.price as _,
        product.version,
        product.deleted,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that the product is gone, unless something newer is there. Of one that was never known, a
/// row says that much, so that an answer that was on its way can't bring it back.
///
/// A deletion may carry the version the product last had, so against an equal version it wins.
pub(crate) async fn remove(
    connection: &mut PgConnection,
    id: ProductId,
    version: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into products (id, name, price, version, deleted) values ($1, '', 0, $2, true)
         on conflict (id) do update
         set version = excluded.version, deleted = true
         where products.version <= excluded.version",
        id as ProductId,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The products with these ids, as far as they are known, deleted ones included.
///
/// They can't change until the transaction ends. So once a new price is in the replica, no order
/// at the old one is still being written, and the discount that follows misses none.
pub(crate) async fn hold(
    connection: &mut PgConnection,
    ids: impl Iterator<Item = ProductId>,
) -> Result<HashMap<ProductId, Product>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.map(|id| id.0).collect();
    let products = sqlx::query_as!(
        Product,
        "select id, name, price, version, deleted from products
         where id = any($1) order by id for share",
        &ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(products
        .into_iter()
        .map(|product| (product.id, product))
        .collect())
}
