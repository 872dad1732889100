//! The replica of customers: all its SQL.

use sqlx::PgConnection;

use crate::ids::CustomerId;
use crate::orders::CustomerName;

/// Keeps the name of a customer, `None` for one who was deleted, and tells whether that was news:
/// not if something newer, or the deletion of the same version, was there.
pub(crate) async fn keep(
    connection: &mut PgConnection,
    id: CustomerId,
    name: Option<&CustomerName>,
    version: i64,
) -> Result<bool, sqlx::Error> {
    let kept = sqlx::query!(
        "insert into customers (id, name, version, deleted)
         values ($1, $2::text, $3, $2 is null)
         on conflict (id) do update
         set name = excluded.name, version = excluded.version, deleted = excluded.deleted
         where customers.version < excluded.version
            or customers.version = excluded.version and excluded.deleted and not customers.deleted",
        id as CustomerId,
        name.map(CustomerName::as_str),
        version,
    )
    .execute(connection)
    .await?;
    Ok(kept.rows_affected() > 0)
}

/// Whether anything was heard of the customer.
pub(crate) async fn knows(
    connection: &mut PgConnection,
    id: CustomerId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from customers where id = $1) as "exists!""#,
        id as CustomerId
    )
    .fetch_one(connection)
    .await
}
