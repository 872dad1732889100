//! What others hear of products.

use event_contracts::catalog::ProductEto;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Heard, TestCatalog, id_of, order, path_of};

/// The product as the API shows it, as an event would.
fn eto(product: &serde_json::Value) -> ProductEto {
    ProductEto {
        id: id_of(product),
        name: product["name"].as_str().expect("a name").to_owned(),
        description: product["description"].as_str().map(str::to_owned),
        price: product["price"]
            .as_str()
            .expect("a price")
            .parse()
            .expect("a decimal"),
        release_date: product["releaseDate"]
            .as_str()
            .map(|d| d.parse().expect("a day")),
        version: product["version"].as_i64().expect("a version"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_products_life_is_told_in_order() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let body = json!({
        "name": "Tea pot",
        "description": "Holds 1.2 litres.",
        "price": "34.50",
        "releaseDate": "2024-03-01",
    });
    let created = catalog
        .post("/api/catalog/product", body.clone())
        .await
        .body;
    let path = path_of(id_of(&created));
    let mut renamed = body;
    renamed["name"] = json!("Enamel tea pot");
    let renamed = catalog.put(&path, "\"1\"", renamed).await.body;
    let repriced = catalog.put_price(&path, json!("29.90")).await.body;
    assert_eq!(catalog.delete(&path).await.status, 204);

    let heard = ordering.wait_for_heard(5).await;
    let [first, second, third, fourth, fifth] = &heard[..] else {
        panic!("five messages, not {heard:?}");
    };
    assert_eq!(first, &Heard::Created(eto(&created)));
    assert_eq!(second, &Heard::Updated(eto(&renamed)));
    assert_eq!(third, &Heard::Updated(eto(&repriced)));
    let Heard::PriceChanged(change) = fourth else {
        panic!("a change of price, not {fourth:?}");
    };
    assert_eq!(change.product_id, id_of(&created));
    assert_eq!(change.old_price.to_string(), "34.50");
    assert_eq!(change.new_price.to_string(), "29.90");
    assert_eq!(fifth, &Heard::Deleted(eto(&repriced)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_and_what_changes_the_stock_is_not_told() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 3).await;
    let path = path_of(product);
    catalog.put_price(&path, json!("34.50")).await;
    let same = json!({ "name": "Tea pot", "price": 34.5 });
    assert_eq!(catalog.put(&path, "\"1\"", same).await.status, 200);
    let restock = json!({ "quantity": 7 });
    assert_eq!(
        catalog
            .post(&format!("{path}/restock"), restock)
            .await
            .status,
        200
    );
    let placed = order(product, 2);
    ordering.place(std::slice::from_ref(&placed)).await;
    ordering.answers_to(std::slice::from_ref(&placed)).await;

    // All of these would have been heard before the deletion of another product.
    let other = catalog.product("Coffee pot", "40", 0).await;
    catalog.delete(&path_of(other)).await;
    let heard = ordering.wait_for_heard(4).await;
    let names: Vec<_> = heard.iter().map(kind).collect();
    assert_eq!(names, ["created", "reserved", "created", "deleted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_with_another_price_tells_of_the_price_too() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 3).await;
    let body = json!({ "name": "Tea pot", "price": "36" });
    assert_eq!(catalog.put(&path_of(product), "*", body).await.status, 200);
    let heard = ordering.wait_for_heard(3).await;
    let names: Vec<_> = heard.iter().map(kind).collect();
    assert_eq!(names, ["created", "updated", "price changed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_change_is_not_told() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 3).await;
    let path = path_of(product);
    let body = json!({ "name": "Coffee pot", "price": "1" });
    catalog
        .put(&path, "\"7\"", body)
        .await
        .is_problem(412, "stale");
    let nobody = path_of(Uuid::now_v7());
    catalog
        .put_price(&nobody, json!("1"))
        .await
        .is_problem(404, "not-found");
    let bad = catalog.put_price(&path, json!("-1")).await;
    bad.is_problem(422, "validation");

    catalog.delete(&path).await;
    let heard = ordering.wait_for_heard(2).await;
    let names: Vec<_> = heard.iter().map(kind).collect();
    assert_eq!(names, ["created", "deleted"]);
}

fn kind(heard: &Heard) -> &'static str {
    match heard {
        Heard::Created(_) => "created",
        Heard::Updated(_) => "updated",
        Heard::Deleted(_) => "deleted",
        Heard::PriceChanged(_) => "price changed",
        Heard::Reserved(_) => "reserved",
        Heard::Rejected(_) => "rejected",
    }
}
