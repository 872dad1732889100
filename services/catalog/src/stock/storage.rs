//! The SQL of stock and reservations.
//!
//! Whoever changes stock locks in this order: reservations that exist, by order; products, by
//! product; new reservations last. So units of work that reserve, release or restock wait for each
//! other and never in a circle. One that does several of these, for a batch of messages of several
//! kinds, may meet another one in a circle all the same; PostgreSQL then ends one of the two, and
//! its messages are handled again one by one.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::reservation::{Held, OrderId, ReservationState, StockRequest};
use super::{Restock, StockCount};
use crate::products::ProductId;

/// The stock of those of the products that exist, locked until the unit of work ends.
///
/// The lock lets others read, and makes whoever wants to change or delete one of them wait.
pub(crate) async fn lock_stock(
    connection: &mut PgConnection,
    products: &[Uuid],
) -> Result<Vec<(ProductId, i32)>, sqlx::Error> {
    let rows = sqlx::query!(
        "select id, stock_count from products where id = any($1) order by id for no key update",
        products,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (ProductId(row.id), row.stock_count))
        .collect())
}

/// What was decided before about these orders.
pub(crate) async fn settled(
    connection: &mut PgConnection,
    orders: &[Uuid],
) -> Result<Vec<(OrderId, ReservationState)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select order_id, state as "state: ReservationState"
           from reservations where order_id = any($1)"#,
        orders,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (OrderId(row.order_id), row.state))
        .collect())
}

/// Keeps what was decided about orders that had not asked before, and takes from the stock what was
/// reserved of each product, wherever there is enough. Tells from how many products.
///
/// Fails if an order has got its row from another unit of work in the meantime.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    decisions: &[(StockRequest, ReservationState)],
    taken: &BTreeMap<ProductId, i32>,
) -> Result<usize, sqlx::Error> {
    let (products, quantities): (Vec<_>, Vec<_>) =
        taken.iter().map(|(id, quantity)| (id.0, *quantity)).unzip();
    let orders: Vec<_> = decisions.iter().map(|(r, _)| r.order.0).collect();
    let asked_for: Vec<_> = decisions.iter().map(|(r, _)| r.product.0).collect();
    let asked: Vec<_> = decisions
        .iter()
        .map(|(r, _)| i64::from(r.quantity.get()))
        .collect();
    let states: Vec<_> = decisions.iter().map(|(_, state)| *state).collect();
    let less_in_stock = sqlx::query_scalar!(
        r#"with taken as (
               update products set stock_count = stock_count - taken.quantity
               from unnest($1::uuid[], $2::int[]) as taken (id, quantity)
               where products.id = taken.id and stock_count >= taken.quantity
               returning products.id
           ), decided as (
               insert into reservations (order_id, product_id, quantity, state)
               select * from unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::text[]) as new (id)
               order by new.id
           )
           select count(*) as "count!" from taken"#,
        &products,
        &quantities,
        &orders,
        &asked_for,
        &asked,
        &states as _,
    )
    .fetch_one(connection)
    .await?;
    Ok(usize::try_from(less_in_stock).unwrap_or(usize::MAX))
}

/// What was decided before about these orders and what they hold, locked until the unit of work
/// ends.
pub(crate) async fn lock_settled(
    connection: &mut PgConnection,
    orders: &[Uuid],
) -> Result<BTreeMap<OrderId, (ReservationState, Option<Held>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select order_id, state as "state: ReservationState", product_id, quantity
           from reservations where order_id = any($1) order by order_id for update"#,
        orders,
    )
    .fetch_all(connection)
    .await?;
    let held = |product: Option<Uuid>, quantity: Option<i64>| {
        Some(Held {
            product: ProductId(product?),
            quantity: quantity?,
        })
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let held = held(row.product_id, row.quantity);
            (OrderId(row.order_id), (row.state, held))
        })
        .collect())
}

/// Ends open reservations. Their stock is given back by [`give_back`].
pub(crate) async fn release(
    connection: &mut PgConnection,
    orders: &[OrderId],
) -> Result<(), sqlx::Error> {
    let orders: Vec<_> = orders.iter().map(|order| order.0).collect();
    sqlx::query!(
        "update reservations set state = 'released', released_at = now()
         where order_id = any($1) and state = 'reserved'",
        &orders,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds what was given back to the stock of each product, also beyond [`StockCount::MAX`]. It never
/// fails for a limit: at the end of the column's range the stock stays there.
pub(crate) async fn give_back(
    connection: &mut PgConnection,
    given_back: &BTreeMap<ProductId, i64>,
) -> Result<(), sqlx::Error> {
    let (products, quantities): (Vec<_>, Vec<_>) = given_back
        .iter()
        .map(|(id, quantity)| (id.0, *quantity))
        .unzip();
    lock_stock(connection, &products).await?;
    sqlx::query!(
        "update products
         set stock_count = least(stock_count + given.quantity, 2147483647)::integer
         from unnest($1::uuid[], $2::bigint[]) as given (id, quantity)
         where products.id = given.id",
        &products,
        &quantities,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that these orders, which nobody has asked for yet, will get nothing. Tells of how many
/// that could be noted: the others have got their row from another unit of work in the meantime.
pub(crate) async fn refuse_beforehand(
    connection: &mut PgConnection,
    orders: &[OrderId],
) -> Result<usize, sqlx::Error> {
    let orders: Vec<_> = orders.iter().map(|order| order.0).collect();
    let done = sqlx::query!(
        "insert into reservations (order_id, state, released_at)
         select id, 'released', now() from unnest($1::uuid[]) as new (id) order by id
         on conflict (order_id) do nothing",
        &orders,
    )
    .execute(connection)
    .await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// How many orders hold stock of a product.
pub(crate) async fn count_open(
    connection: &mut PgConnection,
    product: ProductId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from reservations
           where product_id = $1 and state = 'reserved'"#,
        product.0,
    )
    .fetch_one(connection)
    .await
}

/// Adds what has come in to the stock of a product, up to [`StockCount::MAX`]. Returns whether it
/// did: otherwise the limit would be exceeded, or there is no such product.
pub(crate) async fn restock(
    connection: &mut PgConnection,
    product: ProductId,
    quantity: Restock,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update products set stock_count = stock_count + $2
         where id = $1 and stock_count <= $3::integer - $2",
        product.0,
        quantity.get(),
        StockCount::MAX,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}
