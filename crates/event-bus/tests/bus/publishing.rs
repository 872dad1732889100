//! State and messages in one commit.

use std::time::Duration;

use event_bus::{Message, PublishNowError};
use jiff::Timestamp;

use crate::support::{Effect, Ground, Placed, Release, Running, on_both_transports};

async fn what_is_committed_is_handled_once(ground: &Ground) {
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=3).await;
    let expected = [("reserve", 1), ("reserve", 2), ("reserve", 3)];
    ground.expect_effects("stock", &expected).await;
    ground
        .expect_count("shop", "select count(*) from outbox", 0)
        .await;
}

async fn what_is_rolled_back_is_never_published(ground: &Ground) {
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    let mut work = shop.bus.begin().await.expect("a unit of work");
    work.publish(&Placed { order: 1 }).expect("it is JSON");
    work.rollback().await.expect("it is rolled back");
    let mut work = shop.bus.begin().await.expect("a unit of work");
    work.publish(&Placed { order: 2 }).expect("it is JSON");
    drop(work);
    // A later message has come through, so the earlier ones would have, too.
    shop.place([3]).await;
    ground.expect_effects("stock", &[("reserve", 3)]).await;
}

async fn messages_wait_for_a_receiver_that_must_hear_them(ground: &Ground) {
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    let mut work = shop.bus.begin().await.expect("a unit of work");
    work.send(&Release { order: 2 }).expect("it is JSON");
    work.commit().await.expect("it is committed");
    let waiting = "select count(*) from outbox_scheduled where returned > 0";
    ground.expect_count("shop", waiting, 2).await;

    let stock = ground.participant("stock").await;
    let handler = Effect::named("late");
    let stock = stock
        .handle::<Placed, _>(handler.clone())
        .handle::<Release, _>(handler);
    let _stock = Running::start(stock).await;
    ground
        .expect_effects("stock", &[("late", 1), ("late", 2)])
        .await;
    ground
        .expect_count("shop", "select count(*) from outbox_scheduled", 0)
        .await;
}

async fn a_scheduled_message_comes_at_its_time_and_not_before(ground: &Ground) {
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(Effect::named("due"))).await;
    stock.bus.bound().await;
    let shop = Running::start(ground.participant("shop").await).await;
    let at = Timestamp::now() + Duration::from_millis(1200);
    let mut work = shop.bus.begin().await.expect("a unit of work");
    work.schedule(&Placed { order: 1 }, at).expect("it is JSON");
    work.schedule(
        &Placed { order: 2 },
        Timestamp::now() + Duration::from_millis(100),
    )
    .expect("it is JSON");
    work.commit().await.expect("it is committed");

    ground.expect_effects("stock", &[("due", 2)]).await;
    assert!(
        Timestamp::now() < at,
        "the soon one did not wait for the later one"
    );
    ground
        .expect_effects("stock", &[("due", 1), ("due", 2)])
        .await;
    let late = Timestamp::now().duration_since(at);
    assert!(!late.is_negative(), "it came before its time");
    assert!(late.as_millis() < 1000, "it came {late:?} after its time");
}

async fn publish_now_says_when_nobody_is_bound(ground: &Ground) {
    let shop = Running::start(ground.participant("shop").await).await;
    let error = shop.bus.publish_now(&Placed { order: 1 }).await;
    let Err(PublishNowError::Unroutable(name)) = error else {
        panic!("somebody must hear it, and nobody does: {error:?}");
    };
    assert_eq!(name, Placed::NAME);
}

async fn an_oversized_message_is_refused_where_it_is_published(ground: &Ground) {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Huge(String);
    impl Message for Huge {
        type Kind = event_bus::Event;
        const NAME: &'static str = "shop.huge";
    }
    let shop = Running::start(ground.participant("shop").await).await;
    let mut work = shop.bus.begin().await.expect("a unit of work");
    let error = work
        .publish(&Huge("x".repeat(event_bus::MAX_BODY_BYTES)))
        .expect_err("it is too large");
    let message = error.to_string();
    assert!(
        message.starts_with("`shop.huge` is 1048578 bytes"),
        "{message}"
    );
}

on_both_transports! {
    what_is_committed_is_handled_once,
    what_is_rolled_back_is_never_published,
    messages_wait_for_a_receiver_that_must_hear_them,
    a_scheduled_message_comes_at_its_time_and_not_before,
    publish_now_says_when_nobody_is_bound,
    an_oversized_message_is_refused_where_it_is_published,
}
