//! Calling orders off.

use event_contracts::catalog::{ReleaseStock, StockRejectedEto, StockRejection};
use event_contracts::ordering::OrderCancelledEto;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Person, Shop, id_of, order_for, path_of, problem, uuid, whats};

fn cancel(order: &Value) -> String {
    format!("{}/cancel", path_of(order))
}

#[tokio::test]
async fn a_cancelled_order_is_announced_and_its_stock_released() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let alice = Some(Person::new("Alice", &[]));
    let order = shop.order(&order_for(lamp, 2), alice).await;

    let response = shop.post(&cancel(&order), alice).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["etag"], "\"2\"");
    let cancelled: Value = response.json().await.unwrap();
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(cancelled["reason"], "requested");
    assert_eq!(shop.read(&path_of(&order), alice).await, cancelled);

    let heard = shop.catalog.hears::<OrderCancelledEto>(id_of(&order)).await;
    let expected = json!({
        "orderId": order["id"], "customerId": order["customerId"], "productId": lamp,
        "quantity": 2, "reason": "requested",
    });
    assert_eq!(heard.body, expected);
    shop.catalog.hears::<ReleaseStock>(id_of(&order)).await;
    let history = shop.history(&order, alice).await;
    assert_eq!(whats(&history), ["placed", "cancelled"]);
    assert_eq!(
        history[1]["by"],
        json!({"kind": "user", "id": order["customerId"]})
    );
}

#[tokio::test]
async fn a_confirmed_order_can_still_be_cancelled() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 1), None).await;
    shop.reserve(&order).await;
    shop.becomes(&order, "confirmed", None).await;

    let response = shop.post(&cancel(&order), None).await;
    assert_eq!(response.status(), StatusCode::OK);
    shop.catalog.hears::<ReleaseStock>(id_of(&order)).await;
    let history = shop.history(&order, None).await;
    assert_eq!(history[2]["from"], "confirmed");
    assert_eq!(history[2]["by"], json!({"kind": "guest"}));
}

#[tokio::test]
async fn an_order_that_is_over_is_not_cancelled_again() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let cancelled = shop.order(&order_for(lamp, 1), None).await;
    shop.post(&cancel(&cancelled), None).await;
    let rejected = shop.order(&order_for(lamp, 1), None).await;
    let event = StockRejectedEto {
        order_id: uuid(&rejected["id"]),
        product_id: lamp,
        quantity: 1,
        reason: StockRejection::OutOfStock,
    };
    shop.catalog.publish([event]).await;
    shop.becomes(&rejected, "rejected", None).await;

    for (order, state) in [(cancelled, "cancelled"), (rejected, "rejected")] {
        let response = shop.post(&cancel(&order), None).await;
        let problem = problem(response, StatusCode::CONFLICT, "wrong-state").await;
        assert_eq!(problem["state"], state);
        // A refusal is no event in the life of the order.
        assert_eq!(shop.history(&order, None).await.len(), 2);
    }
}

#[tokio::test]
async fn of_many_who_cancel_at_once_one_does() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 1), None).await;
    let path = cancel(&order);
    let [a, b, c] = [(); 3].map(|()| shop.post(&path, None));
    let (a, b, c) = tokio::join!(a, b, c);
    let mut statuses = [a, b, c].map(|response| response.status().as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409]);
    assert_eq!(shop.history(&order, None).await.len(), 2);
}
