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

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_comes_back_as_soon_as_there_is_some() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 10).await;
    let placed = order(product, 5);
    ordering.place(std::slice::from_ref(&placed)).await;
    ordering.answers_to(std::slice::from_ref(&placed)).await;
    let restock = format!("{}/restock", path_of(product));
    catalog.post(&restock, json!({ "quantity": 999_994 })).await;

    ordering.release(&[placed.order_id]).await;
    catalog.wait_for_handled(2).await;
    assert_eq!(catalog.stock(product).await, 999_999);
    let refused = catalog.delete(&path_of(product)).await;
    refused.is_problem(409, "open-reservations");

    let makes_room = order(product, 7);
    ordering.place(std::slice::from_ref(&makes_room)).await;
    ordering.answers_to(std::slice::from_ref(&makes_room)).await;
    catalog.wait_for_stock(product, 999_997).await;
}
