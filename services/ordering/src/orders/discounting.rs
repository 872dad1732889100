//! Passing a fall of a price on to the orders that were placed before it.

use event_bus::{HandlerError, UnitOfWork};
use event_contracts::ordering::OrderDiscountedEto;

use super::history::{Cause, Record, What};
use super::storage;
use crate::ids::{OrderId, ProductId};
use crate::money::Money;

/// Gives the price to the open orders of the product that cost more, and tells everybody.
pub(crate) async fn pass_on(
    work: &mut UnitOfWork,
    product: ProductId,
    price: Money,
    cause: &Cause,
) -> Result<(), HandlerError> {
    let open = storage::lock_open_orders_of(work, product).await?;
    let discounts: Vec<(OrderId, Money)> = open
        .iter()
        .filter_map(|order| Some((order.id, order.discount_for(price)?)))
        .collect();
    if discounts.is_empty() {
        return Ok(());
    }
    let orders = storage::set_discounts(work, &discounts).await?;
    let records: Vec<_> = orders
        .iter()
        .map(|order| Record {
            order_id: order.id,
            what: What::Discounted,
            from: Some(order.state),
            to: order.state,
            cause,
        })
        .collect();
    storage::insert_history(work, &records).await?;
    for order in &orders {
        work.publish(&OrderDiscountedEto {
            order_id: order.id.0,
            customer_id: order.customer_id.map(|id| id.0),
            product_id: order.product_id.0,
            discount: order.discount.amount(),
            total: order.total().amount(),
        })?;
    }
    Ok(())
}
