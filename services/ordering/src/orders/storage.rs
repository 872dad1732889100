//! Orders and their history: all their SQL.

use std::collections::HashMap;

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::history::{HistoryRow, Origin, Record, What};
use super::{CustomerName, Order, OrderState, Reason};
use crate::ids::{CustomerId, OrderId, ProductId};
use crate::money::Money;

/// Adds orders that were just placed, each with the first entry of its history and the trace that
/// it belongs to, all with one statement.
pub(crate) async fn insert_placed(
    connection: &mut PgConnection,
    placed: &[(&Order, Option<&str>)],
) -> Result<(), sqlx::Error> {
    fn column<'a, T>(
        placed: &[(&'a Order, Option<&str>)],
        value: impl Fn(&'a Order) -> T,
    ) -> Vec<T> {
        placed.iter().map(|(order, _)| value(order)).collect()
    }
    let trace_ids: Vec<_> = placed.iter().map(|(_, trace_id)| *trace_id).collect();
    sqlx::query!(
        "with placed as (
             insert into orders (id, customer_name, customer_id, product_id, product_name, quantity,
                                 unit_price, placed_at, updated_at)
             select id, customer_name, customer_id, product_id, product_name, quantity,
                    unit_price, placed_at, placed_at
             from unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::integer[],
                         $7::numeric[], $8::timestamptz[])
               as placed (id, customer_name, customer_id, product_id, product_name, quantity,
                          unit_price, placed_at)
         )
         insert into order_history (order_id, what, to_state, user_id, trace_id)
         select id, $10, $11, customer_id, trace_id
         from unnest($1::uuid[], $3::uuid[], $9::text[]) as placed (id, customer_id, trace_id)",
        &column(placed, |order| order.id.0),
        &column(placed, |order| order.customer_name.as_str()) as _,
        &column(placed, |order| order.customer_id.map(|id| id.0)) as _,
        &column(placed, |order| order.product_id.0),
        &column(placed, |order| order.product_name.as_str()) as _,
        &column(placed, |order| order.quantity.get().cast_signed()),
        &column(placed, |order| order.unit_price.amount()),
        &column(placed, |order| jiff_sqlx::Timestamp::from(order.placed_at)) as _,
        &trace_ids as _,
        What::Placed as What,
        OrderState::Placed as OrderState,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The order with this id.
pub(crate) async fn find(
    executor: impl PgExecutor<'_>,
    id: OrderId,
) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as!(
        Order,
        "select id, customer_name, customer_id, product_id, product_name, quantity, unit_price,
                discount, state, reason, version, placed_at, updated_at
         from orders where id = $1",
        id as OrderId,
    )
    .fetch_optional(executor)
    .await
}

/// Which orders are asked for; `None` does not restrict.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Filter {
    pub(crate) customer_id: Option<CustomerId>,
    pub(crate) product_id: Option<ProductId>,
    pub(crate) state: Option<OrderState>,
    /// Only orders older than this one.
    pub(crate) before: Option<OrderId>,
}

/// Orders, newest first.
pub(crate) async fn list(
    executor: impl PgExecutor<'_>,
    filter: Filter,
    rows: i64,
) -> Result<Vec<Order>, sqlx::Error> {
    sqlx::query_as!(
        Order,
        "select id, customer_name, customer_id, product_id, product_name, quantity, unit_price,
                discount, state, reason, version, placed_at, updated_at
         from orders
         where ($1::uuid is null or customer_id = $1)
           and ($2::uuid is null or product_id = $2)
           and ($3::text is null or state = $3)
           and ($4::uuid is null or id < $4)
         order by id desc
         limit $5",
        filter.customer_id as Option<CustomerId>,
        filter.product_id as Option<ProductId>,
        filter.state as Option<OrderState>,
        filter.before as Option<OrderId>,
        rows,
    )
    .fetch_all(executor)
    .await
}

/// The states of these orders, as far as they exist, which nobody else can change until the
/// transaction ends. Locked in the order of their ids, so that two sets can't block each other.
pub(crate) async fn lock_states(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashMap<OrderId, OrderState>, sqlx::Error> {
    let rows = sqlx::query!(
        "select id, state from orders where id = any($1) order by id for update",
        ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.state)).collect())
}

/// An order's way into another state.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) order_id: OrderId,
    pub(crate) to: OrderState,
    pub(crate) reason: Option<Reason>,
}

/// Brings orders, each at most once, into other states, adds entries to the histories, and gives
/// back what has changed as it is then, all with one statement.
pub(crate) async fn change_states(
    connection: &mut PgConnection,
    changes: &[Change],
    records: &[Record<'_>],
) -> Result<Vec<Order>, sqlx::Error> {
    let ids: Vec<Uuid> = changes.iter().map(|change| change.order_id.0).collect();
    let states: Vec<OrderState> = changes.iter().map(|change| change.to).collect();
    let reasons: Vec<Option<Reason>> = changes.iter().map(|change| change.reason).collect();
    let entries = Entries::of(records);
    sqlx::query_as!(
        Order,
        "with noted as (
             insert into order_history (order_id, what, from_state, to_state, message_id,
                                        message_name, user_id, trace_id)
             select * from unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::uuid[],
                                  $9::text[], $10::uuid[], $11::text[])
         )
         update orders
         set state = change.state, reason = change.reason, version = version + 1,
             updated_at = now()
         from unnest($1::uuid[], $2::text[], $3::text[]) as change (id, state, reason)
         where orders.id = change.id
         returning orders.id, orders.customer_name, orders.customer_id, orders.product_id,
                   orders.product_name, orders.quantity, orders.unit_price, orders.discount,
                   orders.state, orders.reason, orders.version, orders.placed_at,
                   orders.updated_at",
        &ids,
        &states as _,
        &reasons as _,
        &entries.order_ids,
        &entries.what as _,
        &entries.from as _,
        &entries.to as _,
        &entries.message_ids as _,
        &entries.message_names as _,
        &entries.user_ids as _,
        &entries.trace_ids as _,
    )
    .fetch_all(connection)
    .await
}

/// The open orders of a product, which nobody else can change until the transaction ends.
pub(crate) async fn lock_open_orders_of(
    connection: &mut PgConnection,
    product: ProductId,
) -> Result<Vec<Order>, sqlx::Error> {
    sqlx::query_as!(
        Order,
        "select id, customer_name, customer_id, product_id, product_name, quantity, unit_price,
                discount, state, reason, version, placed_at, updated_at
         from orders where product_id = $1 and state = any($2) order by id for update",
        product as ProductId,
        &OrderState::open() as _,
    )
    .fetch_all(connection)
    .await
}

/// Gives orders, each at most once, a discount, and gives them back as they are then.
pub(crate) async fn set_discounts(
    connection: &mut PgConnection,
    discounts: &[(OrderId, Money)],
) -> Result<Vec<Order>, sqlx::Error> {
    let ids: Vec<Uuid> = discounts.iter().map(|(id, _)| id.0).collect();
    let amounts: Vec<_> = discounts
        .iter()
        .map(|(_, discount)| discount.amount())
        .collect();
    sqlx::query_as!(
        Order,
        "update orders
         set discount = given.discount, version = version + 1, updated_at = now()
         from unnest($1::uuid[], $2::numeric[]) as given (id, discount)
         where orders.id = given.id
         returning orders.id, orders.customer_name, orders.customer_id, orders.product_id,
                   orders.product_name, orders.quantity, orders.unit_price, orders.discount,
                   orders.state, orders.reason, orders.version, orders.placed_at,
                   orders.updated_at",
        &ids,
        &amounts,
    )
    .fetch_all(connection)
    .await
}

/// Puts a name on the orders of a customer that are in these states, and tells which changed.
pub(crate) async fn rename(
    connection: &mut PgConnection,
    customer: CustomerId,
    name: &CustomerName,
    states: &[OrderState],
) -> Result<Vec<(OrderId, OrderState)>, sqlx::Error> {
    let rows = sqlx::query!(
        "update orders
         set customer_name = $2, version = version + 1, updated_at = now()
         where customer_id = $1 and customer_name <> $2 and state = any($3)
         returning id, state",
        customer as CustomerId,
        name.as_str(),
        states as _,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.state)).collect())
}

/// Adds entries to the histories of orders, all with one statement.
pub(crate) async fn insert_history(
    connection: &mut PgConnection,
    records: &[Record<'_>],
) -> Result<(), sqlx::Error> {
    if records.is_empty() {
        return Ok(());
    }
    let entries = Entries::of(records);
    sqlx::query!(
        "insert into order_history (order_id, what, from_state, to_state, message_id, message_name,
                                    user_id, trace_id)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[],
                              $6::text[], $7::uuid[], $8::text[])",
        &entries.order_ids,
        &entries.what as _,
        &entries.from as _,
        &entries.to as _,
        &entries.message_ids as _,
        &entries.message_names as _,
        &entries.user_ids as _,
        &entries.trace_ids as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Entries of histories, column by column.
#[derive(Default)]
struct Entries<'a> {
    order_ids: Vec<Uuid>,
    what: Vec<What>,
    from: Vec<Option<OrderState>>,
    to: Vec<OrderState>,
    message_ids: Vec<Option<Uuid>>,
    message_names: Vec<Option<&'a str>>,
    user_ids: Vec<Option<Uuid>>,
    trace_ids: Vec<Option<&'a str>>,
}

impl<'a> Entries<'a> {
    fn of(records: &[Record<'a>]) -> Self {
        let mut entries = Self::default();
        for record in records {
            let (message_id, message_name, user_id) = match &record.cause.origin {
                Origin::Message(id, name) => (Some(*id), Some(name.as_str()), None),
                Origin::User(id) => (None, None, Some(*id)),
                Origin::Guest => (None, None, None),
            };
            entries.order_ids.push(record.order_id.0);
            entries.what.push(record.what);
            entries.from.push(record.from);
            entries.to.push(record.to);
            entries.message_ids.push(message_id);
            entries.message_names.push(message_name);
            entries.user_ids.push(user_id);
            entries.trace_ids.push(record.cause.trace_id.as_deref());
        }
        entries
    }
}

/// What happened to an order, oldest first.
pub(crate) async fn history(
    executor: impl PgExecutor<'_>,
    id: OrderId,
) -> Result<Vec<HistoryRow>, sqlx::Error> {
    sqlx::query_as!(
        HistoryRow,
        "select at, what, from_state, to_state, message_id, message_name, user_id, trace_id
         from order_history where order_id = $1 order by id",
        id as OrderId,
    )
    .fetch_all(executor)
    .await
}
