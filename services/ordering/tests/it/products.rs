//! The replica of products.

use event_bus::{EntityCreatedEto, EntityDeletedEto, EntityUpdatedEto};
use reqwest::StatusCode;
use test_servers::eventually;
use uuid::Uuid;

use crate::support::{SOON, Shop, order_for, problem, product};

#[tokio::test]
async fn new_orders_have_the_new_name_and_price_and_old_ones_keep_theirs() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let before = shop.order(&order_for(lamp, 1), None).await;
    let entity = product(lamp, "Bright lamp", "25.00", 2);
    shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    shop.knows_version(lamp, 2).await;

    let after = shop.order(&order_for(lamp, 1), None).await;
    assert_eq!(after["productName"], "Bright lamp");
    assert_eq!(after["unitPrice"], "25.00");
    assert_eq!(before["productName"], "Lamp");
}

#[tokio::test]
async fn an_older_picture_never_replaces_a_newer_one() {
    let shop = Shop::open().await;
    let lamp = Uuid::now_v7();
    for (name, version) in [("Lamp 3", 3), ("Lamp 2", 2), ("Lamp 4", 4), ("Lamp 3", 3)] {
        let entity = product(lamp, name, "19.90", version);
        shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    }
    let entity = product(lamp, "Lamp 1", "19.90", 1);
    shop.catalog.publish([EntityCreatedEto { entity }]).await;
    shop.has_handled("products", 5).await;

    let order = shop.order(&order_for(lamp, 1), None).await;
    assert_eq!(order["productName"], "Lamp 4");
}

#[tokio::test]
async fn a_deleted_product_stays_deleted_whatever_comes_late() {
    let shop = Shop::open().await;
    let lamp = Uuid::now_v7();
    // A deletion carries the version that the product last had.
    let entity = product(lamp, "Lamp", "19.90", 2);
    shop.catalog
        .publish([EntityDeletedEto {
            entity: entity.clone(),
        }])
        .await;
    shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    let entity = product(lamp, "Lamp", "19.90", 1);
    shop.catalog.publish([EntityCreatedEto { entity }]).await;
    shop.has_handled("products", 3).await;

    let response = shop.try_order(&order_for(lamp, 1), None).await;
    problem(
        response,
        StatusCode::UNPROCESSABLE_ENTITY,
        "unknown-product",
    )
    .await;
    assert_eq!(shop.catalog.api.asked(), 0);
}

#[tokio::test]
async fn what_was_asked_for_is_not_replaced_by_an_older_event() {
    let shop = Shop::open().await;
    let chair = Uuid::now_v7();
    shop.catalog.api.add(chair, "Chair 7", "80.00", 7);
    shop.order(&order_for(chair, 1), None).await;
    let entity = product(chair, "Chair 6", "70.00", 6);
    shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    shop.has_handled("products", 1).await;
    let order = shop.order(&order_for(chair, 1), None).await;
    assert_eq!(order["productName"], "Chair 7");

    let entity = product(chair, "Chair 8", "90.00", 8);
    shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    shop.knows_version(chair, 8).await;
    assert_eq!(
        shop.order(&order_for(chair, 1), None).await["unitPrice"],
        "90.00"
    );
}

#[tokio::test]
async fn a_product_with_an_impossible_price_is_kept_aside() {
    let shop = Shop::open().await;
    let entity = product(Uuid::now_v7(), "Lamp", "-1.00", 1);
    shop.catalog.publish([EntityCreatedEto { entity }]).await;
    let dead = eventually("it is among the dead letters", SOON, async || {
        let dead = shop.dead_letters().await;
        (!dead.is_empty()).then_some(dead)
    })
    .await;
    assert_eq!(dead[0].0, "catalog.product.created");
    assert!(dead[0].1.starts_with("-1.00 is no price"), "{}", dead[0].1);
}

/// More than a kill switch looks back on: none of them may pause the replica.
#[tokio::test]
async fn products_that_can_not_be_stored_are_kept_aside_and_the_next_price_is_known() {
    const BAD: usize = 30;
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    for _ in 0..BAD {
        let entity = product(Uuid::now_v7(), "La\u{0}mp", "1.00", 1);
        shop.catalog.publish([EntityCreatedEto { entity }]).await;
    }
    let entity = product(lamp, "Lamp", "25.00", 2);
    shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    shop.knows_version(lamp, 2).await;
    let order = shop.order(&order_for(lamp, 1), None).await;
    assert_eq!(order["unitPrice"], "25.00");
    eventually("the others are among the dead letters", SOON, async || {
        let dead = shop.dead_letters().await;
        let refused = "the database refuses the data (SQLSTATE 22021)";
        let refused = dead.iter().filter(|(_, reason)| reason == refused);
        (refused.count() == BAD).then_some(())
    })
    .await;
}
