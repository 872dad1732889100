//! What bad requests get.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, TestCatalog, path_of};

const PRODUCTS: &str = "/api/catalog/product";

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_breaks_a_rule_is_refused_by_the_field() {
    let catalog = TestCatalog::start().await;
    for (field, wrong) in [
        ("name", json!("x")),
        ("name", json!("   ")),
        ("name", json!("x".repeat(121))),
        ("name", json!("Tea\u{0}pot")),
        ("name", json!(7)),
        ("name", Value::Null),
        ("name", json!("Tea\u{0}pot")),
        ("name", json!("Tea\npot")),
        ("description", json!("x".repeat(2001))),
        ("description", json!("\u{0}")),
        ("price", json!("-0.01")),
        ("price", json!(0.001)),
        ("price", json!("100000000")),
        ("price", json!("free")),
        ("price", json!([])),
        ("stockCount", json!(-1)),
        ("stockCount", json!(1_000_000)),
        ("stockCount", json!(1.5)),
        ("releaseDate", json!("2025-02-29")),
        ("releaseDate", json!("-009999-01-01")),
        ("colour", json!("red")),
    ] {
        let mut body = json!({ "name": "Tea pot", "price": "34.50" });
        body[field] = wrong;
        let refused = catalog.post(PRODUCTS, body).await;
        refused.is_problem(422, "validation");
        assert_eq!(refused.error_places(), [format!("/{field}")]);
    }
    let list = catalog.get(PRODUCTS).await.body;
    assert_eq!(list["items"], json!([]), "nothing of it was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_fields_that_are_wrong_are_named_at_once() {
    let catalog = TestCatalog::start().await;
    let body = json!({
        "name": "x",
        "description": "y".repeat(2001),
        "price": "free",
        "stockCount": -1,
        "releaseDate": "soon",
    });
    let refused = catalog.post(PRODUCTS, body).await;
    refused.is_problem(422, "validation");
    let mut places = refused.error_places();
    places.sort_unstable();
    let all = [
        "/description",
        "/name",
        "/price",
        "/releaseDate",
        "/stockCount",
    ];
    assert_eq!(places, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_the_stock_is_refused_by_name() {
    let catalog = TestCatalog::start().await;
    let path = path_of(catalog.product("Tea pot", "34.50", 3).await);
    let body = json!({ "name": "Tea pot", "price": "34.50", "stockCount": 5 });
    let refused = catalog.put(&path, "\"1\"", body).await;
    refused.is_problem(422, "validation");
    assert_eq!(refused.error_places(), ["/stockCount"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_can_not_be_stored_is_refused_when_it_replaces_one() {
    let catalog = TestCatalog::start().await;
    let path = path_of(catalog.product("Tea pot", "34.50", 3).await);
    for field in ["name", "description"] {
        let mut body = json!({ "name": "Tea pot", "price": "34.50" });
        body[field] = json!("Tea\u{0}pot");
        let refused = catalog.put(&path, "\"1\"", body).await;
        refused.is_problem(422, "validation");
        assert_eq!(refused.error_places(), [format!("/{field}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_without_if_match_is_refused() {
    let catalog = TestCatalog::start().await;
    let path = path_of(catalog.product("Tea pot", "34.50", 3).await);
    let body = json!({ "name": "Coffee pot", "price": "34.50" });
    let request = catalog.request(Method::PUT, &path).json(&body);
    Answer::to(request)
        .await
        .is_problem(428, "if-match-required");
    for stale in ["\"2\"", "W/\"1\"", "1"] {
        let refused = catalog.put(&path, stale, body.clone()).await;
        refused.is_problem(412, "stale");
    }
    assert_eq!(catalog.get(&path).await.body["name"], "Tea pot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_does_not_exist_is_not_found() {
    let catalog = TestCatalog::start().await;
    for id in [Uuid::now_v7().to_string(), "tea-pot".to_owned()] {
        let path = format!("{PRODUCTS}/{id}");
        let body = json!({ "name": "Tea pot", "price": "34.50" });
        let restock = json!({ "quantity": 1 });
        for answer in [
            catalog.get(&path).await,
            catalog.put(&path, "*", body).await,
            catalog.delete(&path).await,
            catalog.put_price(&path, json!("1")).await,
            catalog.post(&format!("{path}/restock"), restock).await,
        ] {
            answer.is_problem(404, "not-found");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restocking_by_nothing_or_less_is_refused() {
    let catalog = TestCatalog::start().await;
    let path = path_of(catalog.product("Tea pot", "34.50", 3).await);
    for quantity in [
        json!(0),
        json!(-3),
        json!(1_000_000),
        json!("7"),
        json!(u64::MAX),
    ] {
        let body = json!({ "quantity": quantity });
        let refused = catalog.post(&format!("{path}/restock"), body).await;
        refused.is_problem(422, "validation");
        assert_eq!(refused.error_places(), ["/quantity"]);
    }
    assert_eq!(catalog.get(&path).await.body["stockCount"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_can_not_be_read_is_refused() {
    let catalog = TestCatalog::start().await;
    let post = |content_type: &'static str, body: String| {
        let request = catalog.request(Method::POST, PRODUCTS);
        Answer::to(request.header("content-type", content_type).body(body))
    };
    let broken = post("application/json", "{\"name\":".to_owned()).await;
    broken.is_problem(400, "unreadable-json");
    let text = post("text/plain", "Tea pot".to_owned()).await;
    text.is_problem(415, "unsupported-media-type");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    let large = post("application/json", large).await;
    large.is_problem(413, "body-too-large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_needs_1_to_100_ids() {
    let catalog = TestCatalog::start().await;
    let id = Uuid::now_v7().to_string();
    let too_many = vec![id.as_str(); 101].join(",");
    for (query, parameter) in [
        ("ids=", "ids"),
        ("ids=tea", "ids"),
        (&format!("ids={id},"), "ids"),
        (&format!("ids={too_many}"), "ids"),
        (&format!("ids={id}&colour=red"), "colour"),
    ] {
        let path = format!("/integration-api/catalog/product?{query}");
        let refused = catalog.get(&path).await;
        refused.is_problem(422, "validation");
        assert_eq!(refused.error_places(), [parameter], "{query}");
    }
    let missing = catalog.get("/integration-api/catalog/product").await;
    missing.is_problem(422, "validation");
}
