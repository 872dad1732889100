//! What services tell each other beside orders.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

use std::time::Duration;

use serde_json::json;
use system_tests::{Api, Name, System};
use test_servers::eventually;

const BOUND: Duration = Duration::from_secs(30);

async fn create_product(catalog: &Api, name: &str, price: &str) -> String {
    let product = json!({ "name": name, "price": price, "stockCount": 10 });
    let created = catalog.post("/api/catalog/product", product).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.body["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_product_is_known_to_ordering_as_soon_as_it_exists_and_under_its_new_name() {
    let system = System::start().await;
    let token = system.sign_in("olivia").await;
    let catalog = system.service(Name::Catalog).api().with_token(&token);
    let id = create_product(&catalog, "Kettle", "39.90").await;
    eventually("the product has reached the replica", BOUND, async || {
        let known = system
            .count(
                Name::Ordering,
                "select count(*) from products where name = 'Kettle'",
            )
            .await;
        (known == 1).then_some(())
    })
    .await;

    let path = format!("/api/catalog/product/{id}");
    let etag = catalog.get(&path).await.etag.expect("an ETag");
    let renamed = json!({ "name": "Copper kettle", "price": "39.90" });
    let answer = catalog.put(&path, renamed, Some(&etag)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    eventually("orders bear the new name", BOUND, async || {
        let placed = system.order(&id).await;
        (placed.body["productName"] == "Copper kettle").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_price_drop_makes_open_orders_cheaper() {
    let system = System::start().await;
    let token = system.sign_in("olivia").await;
    let catalog = system.service(Name::Catalog).api().with_token(&token);
    let id = create_product(&catalog, "Teapot", "20.00").await;
    let placed = system.order(&id).await;
    assert_eq!(placed.body["total"], "20.00", "{placed:?}");
    let order = placed.body["id"].as_str().expect("an id").to_owned();
    system.expect_state(&order, "confirmed", BOUND).await;

    let price = json!({ "price": "15.00" });
    let path = format!("/api/catalog/product/{id}/price");
    let answer = catalog.put(&path, price, None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let ordering = system.service(Name::Ordering).api();
    let cheaper = eventually("the order is cheaper", BOUND, async || {
        let answer = ordering.get(&format!("/api/ordering/order/{order}")).await;
        (answer.body["total"] == "15.00").then_some(answer.body)
    })
    .await;
    assert_eq!(cheaper["discount"], "5.00");
    assert_eq!(cheaper["state"], "confirmed");
}

#[tokio::test]
async fn a_customers_new_name_is_on_their_open_orders() {
    let system = System::start().await;
    let alice = system.sign_in("alice").await;
    let ordering = system.service(Name::Ordering).api().with_token(&alice);
    let body = json!({ "customerName": "Somebody else", "productId": system_tests::PRODUCT_A });
    let placed = ordering.post("/api/ordering/order", body).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_ne!(
        placed.body["customerName"], "Somebody else",
        "the name is the token's"
    );
    let path = format!(
        "/api/ordering/order/{}",
        placed.body["id"].as_str().expect("an id")
    );

    let admin = system.sign_in("admin").await;
    let identity = system.service(Name::Identity).api().with_token(&admin);
    let user = placed.body["customerId"].as_str().expect("a customer");
    let user_path = format!("/api/identity/user/{user}");
    let read = identity.get(&user_path).await;
    let mut changed = read.body.clone();
    for read_only in ["id", "version", "createdAt", "updatedAt"] {
        changed
            .as_object_mut()
            .expect("an object")
            .remove(read_only);
    }
    changed["surname"] = json!("Newname");
    let answer = identity
        .put(&user_path, changed, read.etag.as_deref())
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    eventually("the order bears the new name", BOUND, async || {
        let answer = ordering.get(&path).await;
        let name = answer.body["customerName"].as_str()?;
        name.ends_with("Newname").then_some(())
    })
    .await;
}
