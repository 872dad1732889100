//! Several instances of the service that keeps the replica, and instances that go.

use sqlx::postgres::PgPoolOptions;
use test_servers::FaultProxy;

use super::{Copies, Warehouse};
use crate::support::{BOUND, Ground, on_both_transports};

async fn filling_goes_on_behind_the_last_page_after_a_crash(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(1800).await;
    let _stock = warehouse.open().await;
    // In the middle of the second page.
    let first = Copies::stuck_after(700);
    let shop = warehouse.keep(&first).await;
    test_servers::eventually("it is half through a page", BOUND, async || {
        (first.shown() == 700).then_some(())
    })
    .await;
    drop(shop);

    let second = Copies::new();
    let shop = warehouse.keep(&second).await;
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
    assert_eq!(second.shown(), 1300, "one page of 500 was there already");
}

async fn of_two_instances_one_fills(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(2300).await;
    let _stock = warehouse.open().await;
    let copies = Copies::new();
    let one = warehouse.keep(&copies).await;
    let other = warehouse.keep(&copies).await;
    warehouse.is_filled(&one).await;
    warehouse.is_equal().await;
    assert_eq!(copies.shown(), 2300, "each entity is kept once");
    test_servers::eventually("both know", BOUND, async || {
        let unfilled = [&one, &other].map(|shop| shop.bus.health().unfilled_replicas);
        unfilled.concat().is_empty().then_some(())
    })
    .await;
}

async fn an_instance_goes_on_when_the_one_that_fills_ends(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(1000).await;
    let _stock = warehouse.open().await;
    let first = Copies::stuck_after(200);
    let one = warehouse.keep(&first).await;
    test_servers::eventually("the first one fills", BOUND, async || {
        (first.shown() == 200).then_some(())
    })
    .await;
    let other = warehouse.keep(&Copies::new()).await;
    one.stop().await;
    warehouse.is_filled(&other).await;
    warehouse.is_equal().await;
}

/// Its database session stays, as far as it can see, and so did its lock.
async fn an_instance_goes_on_when_the_one_that_fills_is_cut_off_silently(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(1000).await;
    let _stock = warehouse.open().await;
    let first = Copies::stuck_after(200);
    let proxy = FaultProxy::before(&ground.database.url("shop")).await;
    let pool = PgPoolOptions::new().connect(proxy.url()).await;
    let _one = warehouse.keep_on(&first, pool.expect("a database")).await;
    test_servers::eventually("the first one fills", BOUND, async || {
        (first.shown() == 200).then_some(())
    })
    .await;
    let other = warehouse.keep(&Copies::new()).await;
    assert!(proxy.silence().await > 0);
    warehouse.is_filled(&other).await;
    warehouse.is_equal().await;
}

on_both_transports! {
    an_instance_goes_on_when_the_one_that_fills_is_cut_off_silently,
    filling_goes_on_behind_the_last_page_after_a_crash,
    of_two_instances_one_fills,
    an_instance_goes_on_when_the_one_that_fills_ends,
}
