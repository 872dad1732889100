//! Looking at orders.

use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Person, Shop, order_for, path_of, problem};

const LIST: &str = "/api/ordering/order";

fn ids(page: &Value) -> Vec<&Value> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|order| &order["id"]).collect()
}

#[tokio::test]
async fn orders_are_listed_newest_first_page_by_page() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let alice = Some(Person::new("Alice", &[]));
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.insert(0, shop.order(&order_for(lamp, 1), alice).await);
    }
    let expected: Vec<&Value> = placed.iter().map(|order| &order["id"]).collect();

    let mut found = Vec::new();
    let mut path = format!("{LIST}?limit=2");
    loop {
        let page = shop.read(&path, alice).await;
        assert!(ids(&page).len() <= 2);
        found.extend(ids(&page).into_iter().cloned());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("{LIST}?limit=2&cursor={next}");
    }
    assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    assert_eq!(ids(&shop.read(LIST, alice).await), expected);
}

#[tokio::test]
async fn the_list_can_be_narrowed_by_state_and_product() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let chair = shop.sell("Chair", "80.00").await;
    let alice = Some(Person::new("Alice", &[]));
    let first = shop.order(&order_for(lamp, 1), alice).await;
    let second = shop.order(&order_for(chair, 1), alice).await;
    let third = shop.order(&order_for(lamp, 1), alice).await;
    shop.post(&format!("{}/cancel", path_of(&third)), alice)
        .await;

    let cases = [
        (
            format!("productId={lamp}"),
            vec![&third["id"], &first["id"]],
        ),
        ("state=placed".to_owned(), vec![&second["id"], &first["id"]]),
        (
            format!("state=cancelled&productId={lamp}"),
            vec![&third["id"]],
        ),
        (format!("state=cancelled&productId={chair}"), vec![]),
    ];
    for (query, expected) in cases {
        let page = shop.read(&format!("{LIST}?{query}"), alice).await;
        assert_eq!(ids(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn users_list_their_own_and_readers_all() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let alice = Some(Person::new("Alice", &[]));
    let olivia = Some(Person::new("Olivia", &["ordering.orders.read"]));
    let guests = shop.order(&order_for(lamp, 1), None).await;
    let alices = shop.order(&order_for(lamp, 1), alice).await;

    assert_eq!(ids(&shop.read(LIST, alice).await), [&alices["id"]]);
    assert_eq!(
        ids(&shop.read(LIST, olivia).await),
        [&alices["id"], &guests["id"]]
    );
    let bob = Some(Person::new("Bob", &[]));
    assert!(ids(&shop.read(LIST, bob).await).is_empty());
}

#[tokio::test]
async fn an_order_has_its_version_as_etag() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 1), None).await;
    shop.reserve(&order).await;
    shop.becomes(&order, "confirmed", None).await;
    let response = shop.get(&path_of(&order), None).await;
    assert_eq!(response.headers()["etag"], "\"2\"");
}

#[tokio::test]
async fn what_is_no_order_is_not_found() {
    let shop = Shop::open().await;
    for id in [Uuid::now_v7().to_string(), "lamp".to_owned()] {
        let path = format!("{LIST}/{id}");
        for response in [
            shop.get(&path, None).await,
            shop.get(&format!("{path}/history"), None).await,
            shop.post(&format!("{path}/cancel"), None).await,
        ] {
            problem(response, StatusCode::NOT_FOUND, "not-found").await;
        }
    }
}
