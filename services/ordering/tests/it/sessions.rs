//! Requests that are dropped, and a schema that changes under the service.

use event_bus::EntityCreatedEto;
use ordering::Ordering;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use service_host::{Service as _, TestCall, uncalled};
use test_servers::{TableChange, cut_everywhere, eventually};
use uuid::Uuid;

use crate::support::{Person, SOON, Shop, order_for, product, uuid};

const ORDERS: &str = "/api/ordering/order";

/// A request to each route, for an order that exists.
fn calls(shop: &Shop, product: Uuid, order: &Value) -> Vec<TestCall> {
    let manager = Person::new("Olivia", &["ordering.orders.manage"]);
    let token = shop
        .issuer
        .token(manager.id, manager.name, manager.permissions);
    let id = uuid(&order["id"]);
    let of_order = |method, route| TestCall::new(method, route).id(&id).token(&token);
    let calls = vec![
        TestCall::new(Method::POST, ORDERS).body(order_for(product, 1)),
        TestCall::new(Method::GET, ORDERS).token(&token),
        of_order(Method::GET, "/api/ordering/order/{id}"),
        of_order(Method::GET, "/api/ordering/order/{id}/history"),
        of_order(Method::POST, "/api/ordering/order/{id}/cancel"),
    ];
    let document = include_str!("../../openapi.json");
    assert_eq!(uncalled(document, &calls).unwrap(), Vec::<String>::new());
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_dropped_anywhere_leaves_nothing_open_and_loses_nothing() {
    let shop = Shop::open().await;
    let product = shop.sell("The Pragmatic Programmer", "39.90").await;
    let order = shop.order(&order_for(product, 1), None).await;
    for call in calls(&shop, product, &order) {
        let (status, body) = cut_everywhere(&call.name(), || shop.call(&call)).await;
        // An earlier one may have been carried out though it was dropped.
        assert!(
            !status.is_server_error(),
            "{}: {status} {body}",
            call.name()
        );
        shop.expect_nothing_open().await;
    }
    // The service works on, and catalog hears of each order that was placed.
    shop.order(&order_for(product, 1), None).await;
    eventually("the outbox is empty", SOON, async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from outbox")
            .fetch_one(&shop.pool)
            .await
            .ok()?;
        (waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_messages_are_handled_while_the_schema_changes() {
    let shop = Shop::open().await;
    let sold = shop.sell("The Pragmatic Programmer", "39.90").await;
    let mut orders = Vec::new();
    for change in [
        None,
        Some(TableChange::AddColumn),
        Some(TableChange::AddIndex),
        Some(TableChange::WidenColumns),
    ] {
        if let Some(change) = change {
            shop.database().change_tables(Ordering::NAME, change).await;
        }
        // More often than the service has sessions, several at a time.
        for _ in 0..5 {
            let orders_before = orders.len();
            for _ in 0..4 {
                orders.push(shop.order(&order_for(sold, 1), None).await);
            }
            for order in &orders[orders_before..orders_before + 2] {
                shop.reserve(order).await;
            }
            let to_be_cancelled = &orders[orders_before + 2];
            let calls = calls(&shop, sold, to_be_cancelled);
            let answers = calls.iter().map(|call| shop.call(call));
            for (status, body) in futures::future::join_all(answers).await {
                assert!(status.is_success(), "after {change:?}: {status} {body}");
            }
            shop.reserve(&orders[orders_before + 3]).await;
            // The replica takes what catalog publishes.
            let id = Uuid::now_v7();
            let entity = product(id, "Refactoring", "44.90", 1);
            shop.catalog.publish([EntityCreatedEto { entity }]).await;
            shop.knows_version(id, 1).await;
        }
    }
    for order in orders {
        let path = format!("{ORDERS}/{}", order["id"].as_str().unwrap());
        eventually("the order is decided", SOON, async || {
            let order = shop.get(&path, None).await;
            assert_eq!(order.status(), StatusCode::OK);
            let order: Value = order.json().await.unwrap();
            (order["state"] != "placed").then_some(())
        })
        .await;
    }
    let letters: i64 = sqlx::query_scalar("select count(*) from dead_letters")
        .fetch_one(&shop.pool)
        .await
        .unwrap();
    assert_eq!(letters, 0);
}
