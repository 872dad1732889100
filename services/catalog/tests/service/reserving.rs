//! Stock for orders that were placed.

use event_contracts::catalog::{StockRejectedEto, StockRejection, StockReservedEto};
use event_contracts::ordering::OrderPlacedEto;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Heard, TestCatalog, order, path_of};

fn reserved(order: &OrderPlacedEto) -> Heard {
    Heard::Reserved(StockReservedEto {
        order_id: order.order_id,
        product_id: order.product_id,
        quantity: order.quantity,
    })
}

fn rejected(order: &OrderPlacedEto, reason: StockRejection) -> Heard {
    Heard::Rejected(StockRejectedEto {
        order_id: order.order_id,
        product_id: order.product_id,
        quantity: order.quantity,
        reason,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_takes_its_stock_and_is_answered() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Product A", "19.90", 53).await;
    let placed = order(product, 1);
    ordering.place(std::slice::from_ref(&placed)).await;
    let answers = ordering.answers_to(std::slice::from_ref(&placed)).await;
    assert_eq!(answers, [reserved(&placed)]);
    assert_eq!(catalog.stock(product).await, 52);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_60_orders_for_53_pieces_7_are_rejected_and_nothing_is_left() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Product A", "19.90", 53).await;
    let orders: Vec<_> = (0..60).map(|_| order(product, 1)).collect();
    ordering.place(&orders).await;
    let answers = ordering.answers_to(&orders).await;
    assert_eq!(answers.len(), 60);
    let got_it = orders
        .iter()
        .filter(|order| answers.contains(&reserved(order)));
    assert_eq!(got_it.count(), 53);
    let out_of_stock =
        |order: &&OrderPlacedEto| answers.contains(&rejected(order, StockRejection::OutOfStock));
    assert_eq!(orders.iter().filter(out_of_stock).count(), 7);
    assert_eq!(catalog.stock(product).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_too_large_or_for_nothing_known_is_rejected_with_the_reason() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 3).await;
    let too_large = order(product, 4);
    let beyond_any = order(product, u32::MAX);
    let unknown = order(Uuid::now_v7(), 1);
    let orders = [too_large.clone(), beyond_any.clone(), unknown.clone()];
    ordering.place(&orders).await;
    let answers = ordering.answers_to(&orders).await;
    assert_eq!(answers.len(), 3);
    assert!(answers.contains(&rejected(&too_large, StockRejection::OutOfStock)));
    assert!(answers.contains(&rejected(&beyond_any, StockRejection::OutOfStock)));
    assert!(answers.contains(&rejected(&unknown, StockRejection::UnknownProduct)));
    assert_eq!(catalog.stock(product).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_again_takes_nothing_more_and_hears_the_same() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 3).await;
    let met = order(product, 2);
    let refused = order(product, 4);
    // Twice in one batch, and once more when the stock would do for both.
    let orders = [met.clone(), refused.clone(), met.clone(), refused.clone()];
    ordering.place(&orders).await;
    catalog.wait_for_handled(4).await;
    assert_eq!(catalog.stock(product).await, 1);
    let restock = format!("{}/restock", path_of(product));
    catalog.post(&restock, json!({ "quantity": 9 })).await;
    ordering.place(&[met.clone(), refused.clone()]).await;
    catalog.wait_for_handled(6).await;

    let last = order(product, 1);
    ordering.place(std::slice::from_ref(&last)).await;
    let answers = ordering.answers_to(std::slice::from_ref(&last)).await;
    let count = |heard: &Heard| answers.iter().filter(|answer| *answer == heard).count();
    assert_eq!(count(&reserved(&met)), 3);
    assert_eq!(count(&rejected(&refused, StockRejection::OutOfStock)), 3);
    assert_eq!(answers.len(), 7);
    assert_eq!(catalog.stock(product).await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_nothing_goes_to_the_dead_letters_and_the_others_go_on() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 3).await;
    let orders = [order(product, 1), order(product, 0), order(product, 1)];
    ordering.place(&orders).await;
    let good = [orders[0].clone(), orders[2].clone()];
    let answers = ordering.answers_to(&good).await;
    assert_eq!(answers.len(), 2);
    catalog.wait_for_stock(product, 1).await;

    let pool = catalog.servers.database.pool("catalog").await;
    let sql = "select handler, reason, reasons from dead_letters";
    let letters: Vec<(String, String, Vec<String>)> = sqlx::query_as(sql)
        .fetch_all(&pool)
        .await
        .expect("the dead letters");
    let reasons = vec!["the order asks for a quantity of 0".to_owned()];
    assert_eq!(
        letters,
        [("ReserveStock".to_owned(), "rejected".to_owned(), reasons)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_orders_hold_can_not_be_deleted() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 3).await;
    let orders = [order(product, 1), order(product, 1), order(product, 9)];
    ordering.place(&orders).await;
    ordering.answers_to(&orders).await;
    let refused = catalog.delete(&path_of(product)).await;
    refused.is_problem(409, "open-reservations");
    assert_eq!(refused.body["openReservations"], 2);

    ordering.release(&orders.map(|order| order.order_id)).await;
    catalog.wait_for_stock(product, 3).await;
    assert_eq!(catalog.delete(&path_of(product)).await.status, 204);
}
