//! Prices that change after an order was placed.

use event_contracts::catalog::{ProductPriceChangedEto, StockRejectedEto, StockRejection};
use event_contracts::ordering::OrderDiscountedEto;
use serde_json::{Value, json};
use test_servers::eventually;
use uuid::Uuid;

use crate::support::{SOON, Shop, id_of, order_for, path_of, uuid, whats};

impl Shop {
    async fn change_price(&self, product: Uuid, old: &str, new: &str) {
        let event = ProductPriceChangedEto {
            product_id: product,
            old_price: old.parse().unwrap(),
            new_price: new.parse().unwrap(),
        };
        self.catalog.publish([event]).await;
    }

    /// Waits until the order has so many changes behind it.
    async fn reaches_version(&self, order: &Value, version: i64) -> Value {
        let what = format!("order {} reaches version {version}", order["id"]);
        eventually(&what, SOON, async || {
            let order = self.read(&path_of(order), None).await;
            (order["version"] == version).then_some(order)
        })
        .await
    }
}

#[tokio::test]
async fn a_real_drop_is_passed_on_to_open_orders_of_the_product_alone() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "20.00").await;
    let chair = shop.sell("Chair", "20.00").await;
    let placed = shop.order(&order_for(lamp, 3), None).await;
    let confirmed = shop.order(&order_for(lamp, 1), None).await;
    shop.reserve(&confirmed).await;
    shop.becomes(&confirmed, "confirmed", None).await;
    let rejected = shop.order(&order_for(lamp, 1), None).await;
    let event = StockRejectedEto {
        order_id: uuid(&rejected["id"]),
        product_id: lamp,
        quantity: 1,
        reason: StockRejection::OutOfStock,
    };
    shop.catalog.publish([event]).await;
    let rejected = shop.becomes(&rejected, "rejected", None).await;
    let cancelled = shop.order(&order_for(lamp, 1), None).await;
    shop.post(&format!("{}/cancel", path_of(&cancelled)), None)
        .await;
    let cancelled = shop.read(&path_of(&cancelled), None).await;
    let other = shop.order(&order_for(chair, 1), None).await;

    shop.change_price(lamp, "20.00", "18.00").await;
    let discounted = shop.reaches_version(&placed, 2).await;
    assert_eq!(discounted["unitPrice"], "20.00");
    assert_eq!(discounted["discount"], "6.00");
    assert_eq!(discounted["total"], "54.00");
    let heard = shop
        .catalog
        .hears::<OrderDiscountedEto>(id_of(&placed))
        .await;
    assert_eq!(
        heard.body,
        json!({"orderId": placed["id"], "productId": lamp, "discount": "6.00", "total": "54.00"})
    );
    let history = shop.history(&placed, None).await;
    assert_eq!(whats(&history), ["placed", "discounted"]);

    assert_eq!(
        shop.read(&path_of(&confirmed), None).await["total"],
        "18.00"
    );
    for unchanged in [rejected, cancelled, other] {
        assert_eq!(shop.read(&path_of(&unchanged), None).await, unchanged);
    }
}

#[tokio::test]
async fn rises_and_small_drops_change_no_order() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "20.00").await;
    let order = shop.order(&order_for(lamp, 1), None).await;

    shop.change_price(lamp, "20.00", "18.01").await;
    shop.change_price(lamp, "18.01", "40.00").await;
    // A great drop, which leaves the price above what the order was placed at.
    shop.change_price(lamp, "40.00", "21.00").await;
    shop.has_handled("DiscountOrders", 3).await;
    assert_eq!(shop.read(&path_of(&order), None).await, order);
}

#[tokio::test]
async fn a_drop_that_is_told_twice_is_passed_on_once() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "20.00").await;
    let order = shop.order(&order_for(lamp, 1), None).await;
    shop.change_price(lamp, "20.00", "15.00").await;
    shop.change_price(lamp, "20.00", "15.00").await;
    shop.has_handled("DiscountOrders", 2).await;
    let discounted = shop.reaches_version(&order, 2).await;
    assert_eq!(discounted["total"], "15.00");
    shop.change_price(lamp, "15.00", "10.00").await;
    assert_eq!(shop.reaches_version(&order, 3).await["total"], "10.00");
}

#[tokio::test]
async fn the_threshold_can_be_set() {
    let deep = |settings: &mut ordering::Settings| {
        settings.price_drop_threshold = "50%".parse().unwrap();
    };
    let shop = Shop::open_with(deep).await;
    let lamp = shop.sell("Lamp", "20.00").await;
    let order = shop.order(&order_for(lamp, 1), None).await;
    shop.change_price(lamp, "20.00", "11.00").await;
    shop.change_price(lamp, "20.00", "10.00").await;
    shop.has_handled("DiscountOrders", 2).await;
    let discounted = shop.reaches_version(&order, 2).await;
    assert_eq!(discounted["total"], "10.00");
}
