//! The products to try the shop with.

use catalog::Settings;
use serde_json::Value;
use uuid::{Uuid, uuid};

use crate::support::{Heard, Ordering, Servers, TestCatalog, order, path_of};

const PRODUCT_A: Uuid = uuid!("5995897b-1de9-7272-b31c-3a165bbe7b18");

const SEEDED: Settings = Settings {
    seed_demo_data: true,
};

async fn count(catalog: &TestCatalog) -> usize {
    let list = catalog.get("/api/catalog/product?limit=100").await.body;
    list["items"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_start_together_put_a_dozen_products_in_once() {
    let servers = Servers::start().await;
    let ordering = Ordering::start(&servers).await;
    let (one, other) = tokio::join!(servers.launch(SEEDED), servers.launch(SEEDED));
    one.wait_until_ready().await;
    other.wait_until_ready().await;
    let catalog = TestCatalog::of(one, servers);
    assert_eq!(count(&catalog).await, 12);
    let product = catalog.get(&path_of(PRODUCT_A)).await.body;
    assert_eq!(product["name"], "Product A");
    assert_eq!(product["stockCount"], 53);

    let heard = ordering.wait_for_heard(12).await;
    let created = |heard: &Heard| matches!(heard, Heard::Created(_));
    assert_eq!(heard.len(), 12);
    assert!(heard.iter().all(created), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_brings_nothing_back() {
    let servers = Servers::start().await;
    let instance = servers.run(SEEDED).await;
    let catalog = TestCatalog::of(instance, servers);
    let ordering = catalog.ordering().await;
    let placed = order(PRODUCT_A, 1);
    ordering.place(std::slice::from_ref(&placed)).await;
    ordering.answers_to(std::slice::from_ref(&placed)).await;
    let list = catalog.get("/api/catalog/product?sort=-price").await.body;
    let dearest = list["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/catalog/product/{dearest}");
    assert_eq!(catalog.delete(&path).await.status, 204);

    let TestCatalog {
        instance, servers, ..
    } = catalog;
    instance.running.shutdown().await;
    let instance = servers.run(SEEDED).await;
    let catalog = TestCatalog::of(instance, servers);
    assert_eq!(count(&catalog).await, 11);
    catalog.get(&path).await.is_problem(404, "not-found");
    assert_eq!(catalog.stock(PRODUCT_A).await, 52);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_being_asked_for_the_catalog_begins_empty() {
    let catalog = TestCatalog::start().await;
    assert_eq!(count(&catalog).await, 0);
    let missing = catalog.get(&path_of(PRODUCT_A)).await;
    missing.is_problem(404, "not-found");
    assert_eq!(missing.body["errors"], Value::Null);
}
