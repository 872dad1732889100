//! Stock that orders give back: after they have got it, before, without, and more than once.

use event_contracts::catalog::StockReservedEto;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Heard, TestCatalog, order, path_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_gives_back_what_was_reserved_exactly_once() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 10).await;
    let orders = [order(product, 2), order(product, 3), order(product, 4)];
    ordering.place(&orders).await;
    ordering.answers_to(&orders).await;
    assert_eq!(catalog.stock(product).await, 1);

    let [first, second, _] = orders.map(|order| order.order_id);
    ordering.release(&[first, second, first]).await;
    catalog.wait_for_handled(6).await;
    assert_eq!(catalog.stock(product).await, 6);
    ordering.release(&[second, first]).await;
    catalog.wait_for_handled(8).await;
    assert_eq!(catalog.stock(product).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_released_before_it_came_gets_nothing_and_no_answer() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 10).await;
    let early = order(product, 2);
    ordering.release(&[early.order_id]).await;
    catalog.wait_for_handled(1).await;
    ordering.place(std::slice::from_ref(&early)).await;
    catalog.wait_for_handled(2).await;
    assert_eq!(catalog.stock(product).await, 10);
    ordering.release(&[early.order_id]).await;
    catalog.wait_for_handled(3).await;
    assert_eq!(catalog.stock(product).await, 10);

    // Whatever was said to the first order would be heard before what is said to this one.
    let late = order(product, 1);
    ordering.place(std::slice::from_ref(&late)).await;
    let answers = ordering.answers_to(std::slice::from_ref(&late)).await;
    let reserved = Heard::Reserved(StockReservedEto {
        order_id: late.order_id,
        product_id: product,
        quantity: 1,
    });
    assert_eq!(answers, [reserved]);
}

#[tokio::test(flavor = "multi_thread")]
async fn releasing_what_was_refused_or_never_ordered_changes_no_stock() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 3).await;
    let refused = order(product, 4);
    ordering.place(std::slice::from_ref(&refused)).await;
    ordering.answers_to(std::slice::from_ref(&refused)).await;
    ordering.release(&[refused.order_id, Uuid::now_v7()]).await;
    catalog.wait_for_handled(3).await;
    assert_eq!(catalog.stock(product).await, 3);
}

/// More orders than a kill switch looks back on, so that a failure of each would pause the handler.
const ORDERS_AT_THE_LIMIT: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_gives_back_its_stock_also_beyond_the_limit_and_delays_no_other() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let full = catalog.product("Tea pot", "34.50", 999_999).await;
    let other = catalog.product("Coffee pot", "44.50", 10).await;
    let mut orders: Vec<_> = (0..ORDERS_AT_THE_LIMIT).map(|_| order(full, 2)).collect();
    orders.push(order(other, 3));
    ordering.place(&orders).await;
    ordering.answers_to(&orders).await;
    let restock = format!("{}/restock", path_of(full));
    let refilled = catalog.post(&restock, json!({ "quantity": 50 })).await;
    assert_eq!(refilled.status, 200, "{}", refilled.body);
    assert_eq!(catalog.stock(full).await, 999_999);

    for order in &orders {
        ordering.release(&[order.order_id]).await;
    }
    catalog.wait_for_stock(other, 10).await;
    catalog.wait_for_stock(full, 1_000_049).await;
    catalog.wait_for_handled(52).await;
    catalog.expect_no_dead_letters_and_no_retries().await;
    // What is over the limit can be reserved, and nothing can be put on top of it.
    let refused = catalog.post(&restock, json!({ "quantity": 1 })).await;
    refused.is_problem(409, "stock-limit");
    let large = order(full, 999_999);
    ordering.place(std::slice::from_ref(&large)).await;
    ordering.answers_to(std::slice::from_ref(&large)).await;
    catalog.wait_for_stock(full, 50).await;
}
