//! The replica of products: all its SQL.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Product;
use crate::ids::ProductId;

/// Keeps what came, unless something newer, or the deletion of the same version, is there.
///
/// A deletion carries the version the product last had, so against an equal version it wins.
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
            or products.version = excluded.version and excluded.deleted and not products.deleted",
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
        "select * from products where id = any($1) order by id for share",
        &ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(products
        .into_iter()
        .map(|product| (product.id, product))
        .collect())
}
