//! Orders that are not taken.

use event_bus::EntityDeletedEto;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_servers::eventually;
use uuid::Uuid;

use crate::support::{Person, SOON, Shop, order_for, problem, product};

#[tokio::test]
async fn wrong_fields_are_all_named() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let cases = [
        (json!({"productId": lamp}), vec!["/customerName"]),
        (
            json!({"customerName": " ", "productId": lamp}),
            vec!["/customerName"],
        ),
        (
            json!({"customerName": "a\u{0}b", "productId": lamp}),
            vec!["/customerName"],
        ),
        (
            json!({"customerName": "x".repeat(121), "productId": lamp}),
            vec!["/customerName"],
        ),
        (
            json!({"customerName": "", "productId": lamp, "quantity": 0}),
            vec!["/customerName", "/quantity"],
        ),
        (
            json!({"customerName": "David", "productId": lamp, "quantity": 1000}),
            vec!["/quantity"],
        ),
        (
            json!({"customerName": "David", "productId": lamp, "quantity": -1}),
            vec!["/quantity"],
        ),
        (
            json!({"customerName": "David", "productId": lamp, "quantity": "1"}),
            vec!["/quantity"],
        ),
        (
            json!({"customerName": "David", "productId": lamp, "quantity": 1.5}),
            vec!["/quantity"],
        ),
        (
            json!({"customerName": "David", "productId": "lamp"}),
            vec!["/productId"],
        ),
        (json!({"customerName": "David"}), vec!["/productId"]),
        (
            json!({"customerName": "David", "productId": lamp, "unitPrice": "1"}),
            vec!["/unitPrice"],
        ),
        (
            json!({"customerName": "David", "productId": lamp, "state": "confirmed"}),
            vec!["/state"],
        ),
    ];
    for (body, pointers) in cases {
        let response = shop.try_order(&body, None).await;
        let problem = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "validation").await;
        let errors = problem["errors"].as_array().unwrap();
        let found: Vec<&Value> = errors.iter().map(|error| &error["pointer"]).collect();
        assert_eq!(found, pointers, "{body}");
    }
    assert_eq!(stored_orders(&shop).await, 0);
}

#[tokio::test]
async fn what_is_no_json_is_refused_before_it_is_looked_at() {
    let shop = Shop::open().await;
    let post = || shop.request(Method::POST, "/api/ordering/order", None);
    let json = "application/json";
    let cases = [
        (
            post().header("content-type", json).body("{"),
            400,
            "unreadable-json",
        ),
        (
            post().body("customerName=David"),
            415,
            "unsupported-media-type",
        ),
        (
            post().header("content-type", json).body("x".repeat(70_000)),
            413,
            "body-too-large",
        ),
    ];
    for (request, status, slug) in cases {
        let status = StatusCode::from_u16(status).unwrap();
        problem(request.send().await.unwrap(), status, slug).await;
    }
}

#[tokio::test]
async fn an_unknown_product_is_refused_when_catalog_does_not_know_it_either() {
    let shop = Shop::open().await;
    let response = shop.try_order(&order_for(Uuid::now_v7(), 1), None).await;
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let problem = problem(response, status, "unknown-product").await;
    assert_eq!(problem["errors"][0]["pointer"], "/productId");
    assert_eq!(shop.catalog.api.asked(), 1);
    assert_eq!(stored_orders(&shop).await, 0);
}

#[tokio::test]
async fn a_deleted_product_is_refused_without_asking() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    // It could still be found there, if it were asked.
    shop.catalog.api.add(lamp, "Lamp", "19.90", 1);
    let entity = product(lamp, "Lamp", "19.90", 1);
    shop.catalog.publish([EntityDeletedEto { entity }]).await;

    let response = eventually("the product is no longer sold", SOON, async || {
        let response = shop.try_order(&order_for(lamp, 1), None).await;
        (response.status() != StatusCode::CREATED).then_some(response)
    })
    .await;
    problem(
        response,
        StatusCode::UNPROCESSABLE_ENTITY,
        "unknown-product",
    )
    .await;
    assert_eq!(shop.catalog.api.asked(), 0);
}

#[tokio::test]
async fn while_catalog_is_away_only_orders_for_unheard_products_have_to_wait() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let chair = Uuid::now_v7();
    shop.catalog.api.add(chair, "Chair", "80.00", 1);
    shop.catalog.api.set_away(true);

    shop.order(&order_for(lamp, 1), None).await;
    let response = shop.try_order(&order_for(chair, 1), None).await;
    let status = StatusCode::SERVICE_UNAVAILABLE;
    problem(response, status, "product-not-known-yet").await;

    shop.catalog.api.set_away(false);
    shop.order(&order_for(chair, 1), None).await;
}

#[tokio::test]
async fn a_catalog_that_is_not_there_at_all_is_one_that_is_away() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let shop = Shop::open_with(|settings| settings.catalog_url = url).await;
    let response = shop.try_order(&order_for(Uuid::now_v7(), 1), None).await;
    let status = StatusCode::SERVICE_UNAVAILABLE;
    problem(response, status, "product-not-known-yet").await;
}

#[tokio::test]
async fn wrong_parameters_of_the_list_are_named() {
    let shop = Shop::open().await;
    let alice = Some(Person::new("Alice", &[]));
    let cases = [
        ("state=lost", "state"),
        ("productId=lamp", "productId"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=nonsense", "cursor"),
        ("colour=red", "colour"),
    ];
    for (query, parameter) in cases {
        let response = shop
            .get(&format!("/api/ordering/order?{query}"), alice)
            .await;
        let problem = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "validation").await;
        assert_eq!(problem["errors"][0]["parameter"], parameter, "{problem}");
    }
}

async fn stored_orders(shop: &Shop) -> i64 {
    sqlx::query_scalar("select count(*) from orders")
        .fetch_one(&shop.pool)
        .await
        .unwrap()
}
