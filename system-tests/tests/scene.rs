//! What a new user does first.

use std::time::Duration;

use serde_json::json;
use system_tests::{Name, PRODUCT_A, System};
use test_servers::eventually;

/// What the README promises.
const SOON: Duration = Duration::from_secs(3);
const BOUND: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_order_takes_one_from_the_stock_and_is_confirmed() {
    let system = System::start().await;
    assert_eq!(system.stock(PRODUCT_A).await, Some(53));

    let placed = system.order(PRODUCT_A).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_eq!(placed.body["state"], "placed");
    assert_eq!(placed.body["productName"], "Product A");
    let id = placed.body["id"].as_str().expect("an id");

    system.expect_state(id, "confirmed", SOON).await;
    assert_eq!(system.stock(PRODUCT_A).await, Some(52));
}

#[tokio::test]
async fn an_unknown_product_is_refused_with_problem_details() {
    let system = System::start().await;
    let refused = system.order("01930f6e-8c00-7000-8000-000000000000").await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(refused.body["status"], 422);
    for field in ["type", "title", "detail", "instance", "traceId"] {
        assert!(refused.body[field].is_string(), "{field}: {refused:?}");
    }
}

#[tokio::test]
async fn sixty_orders_for_fifty_three_leave_seven_rejected_and_no_stock() {
    let system = System::start().await;
    let mut orders = Vec::new();
    for _ in 0..60 {
        let placed = system.order(PRODUCT_A).await;
        orders.push(placed.body["id"].as_str().expect("an id").to_owned());
    }
    let states = eventually("all orders are decided", BOUND, async || {
        let mut states = Vec::new();
        for order in &orders {
            states.push(system.state(order).await?);
        }
        (!states.contains(&"placed".to_owned())).then_some(states)
    })
    .await;
    let count = |state: &str| states.iter().filter(|s| *s == state).count();
    assert_eq!((count("confirmed"), count("rejected")), (53, 7));
    assert_eq!(system.stock(PRODUCT_A).await, Some(0));
}

#[tokio::test]
async fn a_cancelled_order_gives_its_stock_back() {
    let system = System::start().await;
    let placed = system.order(PRODUCT_A).await;
    let id = placed.body["id"].as_str().expect("an id");
    system.expect_state(id, "confirmed", BOUND).await;
    let ordering = system.service(Name::Ordering).api();
    let cancelled = ordering
        .post(&format!("/api/ordering/order/{id}/cancel"), json!({}))
        .await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(cancelled.body["state"], "cancelled");
    eventually("the stock is back", BOUND, async || {
        (system.stock(PRODUCT_A).await == Some(53)).then_some(())
    })
    .await;
}
