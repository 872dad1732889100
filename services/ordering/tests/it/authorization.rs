//! Who may do what: one table for all endpoints.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};

use crate::support::{Person, Shop, id_of, order_for};

/// An endpoint, and what each of these gets for an order of Alice's.
struct Case {
    method: Method,
    path: &'static str,
    guest: u16,
    bob: u16,
    reader: u16,
    manager: u16,
    alice: u16,
}

fn cases() -> Vec<Case> {
    let case = |method, path, [guest, bob, reader, manager, alice]: [u16; 5]| Case {
        method,
        path,
        guest,
        bob,
        reader,
        manager,
        alice,
    };
    vec![
        case(
            Method::POST,
            "/api/ordering/order",
            [201, 201, 201, 201, 201],
        ),
        case(
            Method::GET,
            "/api/ordering/order",
            [401, 200, 200, 200, 200],
        ),
        case(
            Method::GET,
            "/api/ordering/order/{id}",
            [404, 404, 200, 200, 200],
        ),
        case(
            Method::GET,
            "/api/ordering/order/{id}/history",
            [404, 404, 200, 200, 200],
        ),
        case(
            Method::POST,
            "/api/ordering/order/{id}/cancel",
            [404, 404, 403, 200, 200],
        ),
    ]
}

#[tokio::test]
async fn everybody_gets_what_they_may_and_no_more() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let alice = Person::new("Alice", &[]);
    let bob = Person::new("Bob", &["catalog.products.manage"]);
    let reader = Person::new("Rita", &["ordering.orders.read"]);
    let manager = Person::new("Mona", &["ordering.orders.manage"]);

    for case in cases() {
        let callers = [
            ("guest", None, case.guest),
            ("bob", Some(bob), case.bob),
            ("reader", Some(reader), case.reader),
            ("manager", Some(manager), case.manager),
            ("alice", Some(alice), case.alice),
        ];
        for (name, who, expected) in callers {
            let order = shop.order(&order_for(lamp, 1), Some(alice)).await;
            let path = case.path.replace("{id}", id_of(&order));
            let mut request = shop.request(case.method.clone(), &path, who);
            if expected == 201 {
                request = request.json(&order_for(lamp, 1));
            }
            let status = request.send().await.unwrap().status();
            assert_eq!(
                status.as_u16(),
                expected,
                "{} {} by {name}",
                case.method,
                case.path
            );
        }
    }
}

#[tokio::test]
async fn a_guests_order_belongs_to_whoever_has_its_id() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    for who in [None, Some(Person::new("Bob", &[]))] {
        let order = shop.order(&order_for(lamp, 1), None).await;
        let path = format!("/api/ordering/order/{}", id_of(&order));
        assert_eq!(shop.get(&path, who).await.status(), StatusCode::OK);
        let cancelled = shop.post(&format!("{path}/cancel"), who).await;
        assert_eq!(cancelled.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_refused_even_where_a_guest_would_do() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 1), None).await;
    for case in cases() {
        let path = case.path.replace("{id}", id_of(&order));
        let request = shop
            .request(case.method, &path, None)
            .bearer_auth("nonsense");
        let response = request.json(&order_for(lamp, 1)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn every_endpoint_of_the_document_has_a_case() {
    let shop = Shop::open().await;
    let document = shop.read("/api-docs/openapi.json", None).await;
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let tested = cases()
        .into_iter()
        .map(|case| (case.method.to_string(), case.path.to_owned()));
    assert_eq!(described, tested.collect());
}
