//! Several at once: instances, editors, orders and releases.

use event_contracts::ordering::OrderPlacedEto;
use serde_json::json;
use uuid::Uuid;

use crate::support::{EMPTY, Heard, TestCatalog, order, path_of};

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_never_give_away_more_than_there_is() {
    let catalog = TestCatalog::start().await;
    let _second = catalog.servers.run(EMPTY).await;
    let ordering = catalog.ordering().await;
    let mut products = Vec::new();
    for name in ["Tea pot", "Coffee pot", "Candle"] {
        products.push(catalog.product(name, "1", 100).await);
    }

    let orders: Vec<OrderPlacedEto> = (0..300)
        .map(|n| order(products[n % 3], u32::try_from(n % 5 + 1).expect("small")))
        .collect();
    let released: Vec<Uuid> = orders.iter().step_by(2).map(|o| o.order_id).collect();
    for (placed, given_up) in orders.chunks(30).zip(released.chunks(15)) {
        ordering.place(placed).await;
        ordering.release(given_up).await;
    }
    catalog.wait_for_handled(450).await;

    let kept: Vec<_> = orders.iter().skip(1).step_by(2).cloned().collect();
    let answers = ordering.answers_to(&kept).await;
    for product in products {
        let held: u32 = kept
            .iter()
            .filter(|order| order.product_id == product)
            .filter(|order| answers.iter().any(|answer| is_reserved(answer, order)))
            .map(|order| order.quantity)
            .sum();
        assert_eq!(catalog.stock(product).await, 100 - i64::from(held));
        assert!(held > 0, "some orders got their stock");
    }
}

fn is_reserved(answer: &Heard, order: &OrderPlacedEto) -> bool {
    matches!(answer, Heard::Reserved(reserved) if reserved.order_id == order.order_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_replace_what_both_have_read_one_is_refused() {
    let catalog = TestCatalog::start().await;
    let path = path_of(catalog.product("Tea pot", "34.50", 3).await);
    let replace = |name: &'static str| {
        let body = json!({ "name": name, "price": "34.50" });
        catalog.put(&path, "\"1\"", body)
    };
    let (one, other) = tokio::join!(replace("Red tea pot"), replace("Blue tea pot"));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    assert_eq!(catalog.get(&path).await.body["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_a_product_while_orders_come_loses_no_stock() {
    let catalog = TestCatalog::start().await;
    let ordering = catalog.ordering().await;
    let product = catalog.product("Tea pot", "34.50", 200).await;
    let path = path_of(product);
    let orders: Vec<_> = (0..100).map(|_| order(product, 1)).collect();
    let edits = async {
        for number in 0..20 {
            let body = json!({ "name": format!("Tea pot {number}"), "price": number });
            assert_eq!(catalog.put(&path, "*", body).await.status, 200);
        }
    };
    let placing = async {
        for order in &orders {
            ordering.place(std::slice::from_ref(order)).await;
        }
    };
    tokio::join!(edits, placing);
    ordering.answers_to(&orders).await;
    let read = catalog.get(&path).await.body;
    assert_eq!(
        (&read["stockCount"], &read["version"]),
        (&json!(100), &json!(21))
    );
}
