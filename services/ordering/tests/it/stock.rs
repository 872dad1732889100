//! What catalog says about the stock, and when it says nothing.

use std::time::Duration;

use event_bus::Message as _;
use event_contracts::catalog::{ReleaseStock, StockRejectedEto, StockRejection, StockReservedEto};
use event_contracts::ordering::{
    OrderCancelledEto, OrderConfirmedEto, OrderPlacedEto, OrderRejectedEto,
};
use serde_json::{Value, json};
use test_servers::eventually;
use uuid::Uuid;

use crate::support::{SOON, Shop, id_of, order_for, path_of, uuid, whats};

fn reserved(order: &Value) -> StockReservedEto {
    StockReservedEto {
        order_id: uuid(&order["id"]),
        product_id: uuid(&order["productId"]),
        quantity: 1,
    }
}

fn rejected(order: &Value, reason: StockRejection) -> StockRejectedEto {
    StockRejectedEto {
        order_id: uuid(&order["id"]),
        product_id: uuid(&order["productId"]),
        quantity: 1,
        reason,
    }
}

#[tokio::test]
async fn reserved_stock_confirms_the_order() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 2), None).await;

    shop.catalog.publish([reserved(&order)]).await;
    let confirmed = shop.becomes(&order, "confirmed", None).await;
    assert_eq!(confirmed["version"], 2);
    assert_eq!(confirmed["total"], "39.80");
    let heard = shop.catalog.hears::<OrderConfirmedEto>(id_of(&order)).await;
    assert_eq!(
        heard.body,
        json!({"orderId": order["id"], "productId": lamp, "quantity": 2, "total": "39.80"})
    );

    let history = shop.history(&order, None).await;
    assert_eq!(whats(&history), ["placed", "confirmed"]);
    assert_eq!(history[1]["from"], "placed");
    assert_eq!(history[1]["to"], "confirmed");
    assert_eq!(history[1]["by"]["kind"], "message");
    assert_eq!(history[1]["by"]["name"], StockReservedEto::NAME);
    // What ordering says is an effect of what catalog said.
    assert_eq!(
        history[1]["by"]["id"],
        heard.causation_id.unwrap().to_string()
    );
}

#[tokio::test]
async fn rejected_stock_rejects_the_order_with_its_reason() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    for (reason, word) in [
        (StockRejection::OutOfStock, "out_of_stock"),
        (StockRejection::UnknownProduct, "unknown_product"),
    ] {
        let order = shop.order(&order_for(lamp, 1), None).await;
        shop.catalog.publish([rejected(&order, reason)]).await;
        let rejected = shop.becomes(&order, "rejected", None).await;
        assert_eq!(rejected["reason"], word);
        let heard = shop.catalog.hears::<OrderRejectedEto>(id_of(&order)).await;
        assert_eq!(heard.body["reason"], word);
        assert!(shop.catalog.heard::<ReleaseStock>(id_of(&order)).is_empty());
    }
}

#[tokio::test]
async fn a_second_answer_changes_nothing_and_is_in_the_history() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 1), None).await;

    // Both in one set, in which the order is confirmed once.
    shop.catalog
        .publish([reserved(&order), reserved(&order)])
        .await;
    shop.history_of_length(&order, 3, None).await;
    shop.catalog
        .publish([rejected(&order, StockRejection::OutOfStock)])
        .await;
    let history = shop.history_of_length(&order, 4, None).await;
    assert_eq!(
        whats(&history),
        ["placed", "confirmed", "ignored", "ignored"]
    );
    assert_eq!(history[3]["from"], "confirmed");
    assert_eq!(history[3]["to"], "confirmed");
    assert_eq!(history[3]["by"]["name"], StockRejectedEto::NAME);

    let order = shop.read(&path_of(&order), None).await;
    assert_eq!(order["state"], "confirmed");
    assert_eq!(order["version"], 2);
    shop.catalog.hears::<OrderConfirmedEto>(id_of(&order)).await;
    assert_eq!(
        shop.catalog.heard::<OrderConfirmedEto>(id_of(&order)).len(),
        1
    );
    assert!(
        shop.catalog
            .heard::<OrderRejectedEto>(id_of(&order))
            .is_empty()
    );
}

#[tokio::test]
async fn stock_that_comes_after_the_cancellation_is_released_by_it() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 1), None).await;
    shop.post(&format!("{}/cancel", path_of(&order)), None)
        .await;

    shop.catalog.publish([reserved(&order)]).await;
    let history = shop.history_of_length(&order, 3, None).await;
    assert_eq!(whats(&history), ["placed", "cancelled", "ignored"]);
    assert_eq!(
        shop.read(&path_of(&order), None).await["state"],
        "cancelled"
    );
    shop.catalog.hears::<ReleaseStock>(id_of(&order)).await;
    assert_eq!(shop.catalog.heard::<ReleaseStock>(id_of(&order)).len(), 1);
}

#[tokio::test]
async fn many_answers_at_once_each_reach_their_order() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let mut orders = Vec::new();
    for _ in 0..20 {
        orders.push(shop.order(&order_for(lamp, 1), None).await);
    }
    let (confirmed, rest) = orders.split_at(12);
    shop.catalog.publish(confirmed.iter().map(reserved)).await;
    let out = rest
        .iter()
        .map(|order| rejected(order, StockRejection::OutOfStock));
    shop.catalog.publish(out).await;

    for order in confirmed {
        shop.becomes(order, "confirmed", None).await;
    }
    for order in rest {
        shop.becomes(order, "rejected", None).await;
    }
}

/// Of a table that was never analyzed PostgreSQL supposes that it has few rows, and a plan is kept.
#[tokio::test]
async fn orders_are_found_by_index_from_the_first_one_on() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let mut orders = Vec::new();
    for _ in 0..40 {
        orders.push(shop.order(&order_for(lamp, 1), None).await);
    }
    shop.catalog.publish(orders.iter().map(reserved)).await;
    for order in &orders {
        shop.becomes(order, "confirmed", None).await;
    }

    // The server counts a session's work when it has been idle for a while.
    let read = eventually("the server has counted", SOON, async || {
        let counts = "select seq_tup_read, n_tup_upd from pg_stat_user_tables
                      where schemaname = 'ordering' and relname = 'orders'";
        let (read, updates): (i64, i64) =
            sqlx::query_as(counts).fetch_one(&shop.pool).await.unwrap();
        (updates >= 40).then_some(read)
    })
    .await;
    assert_eq!(read, 0, "all orders were read to find some");
}

#[tokio::test]
async fn an_answer_for_no_order_is_kept_aside_and_the_others_go_on() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let first = shop.order(&order_for(lamp, 1), None).await;
    let last = shop.order(&order_for(lamp, 1), None).await;
    let stray = StockReservedEto {
        order_id: Uuid::now_v7(),
        ..reserved(&first)
    };
    let reason = format!("there is no order {}", stray.order_id);
    shop.catalog
        .publish([reserved(&first), stray, reserved(&last)])
        .await;

    shop.becomes(&first, "confirmed", None).await;
    shop.becomes(&last, "confirmed", None).await;
    let dead = eventually(
        "the stray answer is among the dead letters",
        SOON,
        async || {
            let dead = shop.dead_letters().await;
            (!dead.is_empty()).then_some(dead)
        },
    )
    .await;
    assert_eq!(dead, [(StockReservedEto::NAME.to_owned(), reason)]);
}

#[tokio::test]
async fn an_order_that_nothing_is_heard_about_is_cancelled_in_time() {
    let soon = |settings: &mut ordering::Settings| {
        settings.confirmation_timeout = Duration::from_millis(500);
    };
    let shop = Shop::open_with(soon).await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 1), None).await;

    let cancelled = shop.becomes(&order, "cancelled", None).await;
    assert_eq!(cancelled["reason"], "confirmation_timeout");
    let heard = shop.catalog.hears::<OrderCancelledEto>(id_of(&order)).await;
    assert_eq!(heard.body["reason"], "confirmation_timeout");
    shop.catalog.hears::<ReleaseStock>(id_of(&order)).await;
    let placed = shop.catalog.hears::<OrderPlacedEto>(id_of(&order)).await;
    assert_eq!(heard.correlation_id, placed.correlation_id);
    let history = shop.history(&order, None).await;
    assert_eq!(whats(&history), ["placed", "cancelled"]);
    assert_eq!(history[1]["by"]["name"], "ordering.confirmation_due");
}

#[tokio::test]
async fn a_confirmed_order_does_not_mind_the_time() {
    let soon = |settings: &mut ordering::Settings| {
        settings.confirmation_timeout = Duration::from_secs(3);
    };
    let shop = Shop::open_with(soon).await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let order = shop.order(&order_for(lamp, 1), None).await;
    shop.catalog.publish([reserved(&order)]).await;

    let history = shop.history_of_length(&order, 3, None).await;
    assert_eq!(whats(&history), ["placed", "confirmed", "ignored"]);
    assert_eq!(
        shop.read(&path_of(&order), None).await["state"],
        "confirmed"
    );
}
