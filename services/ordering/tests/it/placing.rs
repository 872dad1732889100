//! Orders that are taken.

use event_contracts::ordering::OrderPlacedEto;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Person, Shop, id_of, order_for, path_of, uuid};

#[tokio::test]
async fn an_order_is_placed_at_the_price_of_the_replica_and_catalog_hears_of_it() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.9").await;

    let response = shop.try_order(&order_for(lamp, 3), None).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["etag"], "\"1\"");
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let order: Value = response.json().await.unwrap();
    let expected = json!({
        "id": order["id"], "customerName": "David", "productId": lamp, "productName": "Lamp",
        "quantity": 3, "unitPrice": "19.90", "discount": "0.00", "total": "59.70",
        "state": "placed", "version": 1,
        "placedAt": order["placedAt"], "updatedAt": order["placedAt"],
    });
    assert_eq!(order, expected);
    assert_eq!(location, path_of(&order));
    assert_eq!(uuid(&order["id"]).get_version_num(), 7);
    assert_eq!(shop.read(&location, None).await, order);

    let heard = shop.catalog.hears::<OrderPlacedEto>(id_of(&order)).await;
    assert_eq!(
        heard.body,
        json!({"orderId": order["id"], "customerName": "David", "productId": lamp, "quantity": 3})
    );
}

#[tokio::test]
async fn one_is_ordered_if_nothing_is_said() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let body = json!({"customerName": "  David ", "productId": lamp});
    let order = shop.order(&body, None).await;
    assert_eq!(order["quantity"], 1);
    assert_eq!(order["customerName"], "David");
}

#[tokio::test]
async fn who_is_signed_in_orders_under_the_name_in_the_token() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let alice = Person::new("Alice Liddell", &[]);

    let claimed = json!({"customerName": "Somebody else", "productId": lamp});
    for body in [claimed, json!({"productId": lamp})] {
        let order = shop.order(&body, Some(alice)).await;
        assert_eq!(order["customerName"], "Alice Liddell");
        assert_eq!(order["customerId"], alice.id.to_string());
        let heard = shop.catalog.hears::<OrderPlacedEto>(id_of(&order)).await;
        assert_eq!(heard.body["customerId"], alice.id.to_string());
    }
}

#[tokio::test]
async fn an_order_belongs_to_the_trace_of_its_request_all_the_way() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let trace_id = Uuid::now_v7().simple().to_string();
    let response = shop
        .request(Method::POST, "/api/ordering/order", None)
        .header("traceparent", format!("00-{trace_id}-00f067aa0ba902b7-01"))
        .json(&order_for(lamp, 1))
        .send()
        .await
        .unwrap();
    let order: Value = response.json().await.unwrap();

    let heard = shop.catalog.hears::<OrderPlacedEto>(id_of(&order)).await;
    assert_eq!(heard.trace_id, Some(trace_id.clone()));
    let history = shop.history(&order, None).await;
    let entry = json!({
        "at": history[0]["at"], "what": "placed", "to": "placed",
        "by": {"kind": "guest"}, "traceId": trace_id,
    });
    assert_eq!(history, [entry]);
}

#[tokio::test]
async fn a_product_nobody_has_told_of_is_asked_for_once() {
    let shop = Shop::open().await;
    let chair = Uuid::now_v7();
    shop.catalog.api.add(chair, "Chair", "80.00", 4);

    let order = shop.order(&order_for(chair, 2), None).await;
    assert_eq!(order["productName"], "Chair");
    assert_eq!(order["total"], "160.00");
    shop.order(&order_for(chair, 1), None).await;
    assert_eq!(shop.catalog.api.asked(), 1);
}

#[tokio::test]
async fn an_order_is_taken_before_shutdown_or_not_at_all() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 1), None).await;

    let (pool, _database) = shop.close().await;
    let stored: Vec<Uuid> = sqlx::query_scalar("select id from orders")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(stored, [uuid(&order["id"])]);
}
