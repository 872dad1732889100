//! Creating, reading, changing and deleting products.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{TestCatalog, id_of, path_of};

const PRODUCTS: &str = "/api/catalog/product";

fn tea_pot() -> Value {
    json!({
        "name": "  Enamel tea pot ",
        "description": "Holds 1.2 litres.",
        "price": 34.5,
        "stockCount": 12,
        "releaseDate": "2024-03-01",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_product_is_found_where_location_says() {
    let catalog = TestCatalog::start().await;
    let created = catalog.post(PRODUCTS, tea_pot()).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.header("etag"), "\"1\"");
    let path = path_of(id_of(&created.body));
    assert_eq!(created.header("location"), path);

    let body = &created.body;
    assert_eq!(body["name"], "Enamel tea pot");
    assert_eq!(body["description"], "Holds 1.2 litres.");
    assert_eq!(body["price"], "34.50");
    assert_eq!(body["stockCount"], 12);
    assert_eq!(body["releaseDate"], "2024-03-01");
    assert_eq!(body["version"], 1);
    assert_eq!(body["createdAt"], body["updatedAt"]);

    let read = catalog.get(&path).await;
    assert_eq!(read.status, 200);
    assert_eq!(read.header("etag"), "\"1\"");
    assert_eq!(read.body, created.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_of_a_new_product_is_none() {
    let catalog = TestCatalog::start().await;
    let body = json!({ "name": "Tea pot", "description": "  ", "price": "0" });
    let created = catalog.post(PRODUCTS, body).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.body["price"], "0.00");
    assert_eq!(created.body["stockCount"], 0);
    assert_eq!(created.body["description"], Value::Null);
    assert_eq!(created.body["releaseDate"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_leaves_the_stock_and_raises_the_version() {
    let catalog = TestCatalog::start().await;
    let created = catalog.post(PRODUCTS, tea_pot()).await.body;
    let path = path_of(id_of(&created));
    let body = json!({ "name": "Coffee pot", "price": "40.00" });
    let replaced = catalog.put(&path, "\"1\"", body.clone()).await;
    assert_eq!(replaced.status, 200, "{}", replaced.body);
    assert_eq!(replaced.header("etag"), "\"2\"");
    assert_eq!(replaced.body["name"], "Coffee pot");
    assert_eq!(replaced.body["description"], Value::Null);
    assert_eq!(replaced.body["stockCount"], 12);
    assert_eq!(replaced.body["createdAt"], created["createdAt"]);
    assert_eq!(catalog.get(&path).await.body, replaced.body);

    // Who read version 1 does not know of the coffee pot.
    let stale = catalog.put(&path, "\"1\"", body.clone()).await;
    stale.is_problem(412, "stale");
    let again = catalog.put(&path, "\"2\"", body).await;
    assert_eq!(again.body, replaced.body, "the same again changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_changed_without_knowing_the_version() {
    let catalog = TestCatalog::start().await;
    let path = path_of(catalog.product("Tea pot", "34.50", 3).await);
    let same = catalog.put_price(&path, json!("34.5")).await;
    assert_eq!((same.status, same.header("etag")), (200, "\"1\""));
    let other = catalog.put_price(&path, json!(29.9)).await;
    assert_eq!((other.status, other.header("etag")), (200, "\"2\""));
    assert_eq!(other.body["price"], "29.90");
    assert_eq!(other.body["name"], "Tea pot");
    assert_eq!(catalog.get(&path).await.body, other.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn restocking_adds_and_leaves_the_version() {
    let catalog = TestCatalog::start().await;
    let path = path_of(catalog.product("Tea pot", "34.50", 3).await);
    let restock = format!("{path}/restock");
    let restocked = catalog.post(&restock, json!({ "quantity": 7 })).await;
    assert_eq!(restocked.status, 200, "{}", restocked.body);
    assert_eq!(restocked.body["stockCount"], 10);
    assert_eq!(restocked.header("etag"), "\"1\"");
    assert_eq!(catalog.get(&path).await.body, restocked.body);

    let too_much = catalog.post(&restock, json!({ "quantity": 999_990 })).await;
    too_much.is_problem(409, "stock-limit");
    assert_eq!(catalog.get(&path).await.body, restocked.body);
    let just_enough = catalog.post(&restock, json!({ "quantity": 999_989 })).await;
    assert_eq!(just_enough.body["stockCount"], 999_999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_product_is_gone() {
    let catalog = TestCatalog::start().await;
    let path = path_of(catalog.product("Tea pot", "34.50", 3).await);
    let deleted = catalog.delete(&path).await;
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    catalog.get(&path).await.is_problem(404, "not-found");
    catalog.delete(&path).await.is_problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_look_up_names_and_prices_of_those_that_exist() {
    let catalog = TestCatalog::start().await;
    let tea = catalog.product("Tea pot", "34.50", 3).await;
    let coffee = catalog.product("Coffee pot", "40", 3).await;
    catalog.put_price(&path_of(coffee), json!("39.99")).await;
    let path = format!(
        "/integration-api/catalog/product?ids={tea},{},{coffee},{tea}",
        Uuid::now_v7()
    );
    let found = catalog.get(&path).await;
    assert_eq!(found.status, 200, "{}", found.body);
    assert_eq!(
        found.body,
        json!([
            { "id": tea, "name": "Tea pot", "price": "34.50", "version": 1 },
            { "id": coffee, "name": "Coffee pot", "price": "39.99", "version": 2 },
        ])
    );
}
