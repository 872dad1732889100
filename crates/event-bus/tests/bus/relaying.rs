//! One relay leads, the others stand by, and no fault loses or doubles anything.

use std::time::Duration;

use event_bus::{BusSettings, EventBus, RabbitMq};
use test_servers::FaultProxy;

use crate::support::{BOUND, Effect, Ground, Placed, Running, on_both_transports, quick};

const ORDERS: u32 = 300;

fn expected() -> Vec<(&'static str, i64)> {
    (1..=i64::from(ORDERS)).map(|n| ("reserve", n)).collect()
}

async fn start_stock(ground: &Ground) -> Running {
    let stock = ground.participant("stock").await;
    Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await
}

/// What is committed while another instance leads.
async fn a_standbys_commits_reach_the_leader_at_once(ground: &Ground) {
    let _stock = start_stock(ground).await;
    // Nobody looks by itself in time: only word of the commit can reach the leader.
    let patient = BusSettings {
        poll_interval: BOUND * 3,
        ..quick()
    };
    let leader = ground.participant("shop").await.settings(patient.clone());
    let leader = Running::start(leader).await;
    leader.place([1]).await;
    ground.expect_effects("stock", &[("reserve", 1)]).await;
    let standby = ground.participant("shop").await.settings(patient);
    let standby = Running::start(standby).await;
    standby.place([2]).await;
    ground
        .expect_effects("stock", &[("reserve", 1), ("reserve", 2)])
        .await;
}

async fn when_the_leader_stops_another_takes_over(ground: &Ground) {
    let _stock = start_stock(ground).await;
    let leader = Running::start(ground.participant("shop").await).await;
    let standby = Running::start(ground.participant("shop").await).await;
    leader.place(1..=100).await;
    leader.stop().await;
    standby.place(101..=ORDERS).await;
    ground.expect_effects("stock", &expected()).await;
}

async fn a_lost_database_session_only_delays(ground: &Ground) {
    let _stock = start_stock(ground).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=100).await;
    ground.database.close_connections().await;
    let rest: Vec<u32> = (101..=ORDERS).collect();
    test_servers::eventually("the database takes connections", BOUND, async || {
        let mut work = shop.bus.begin().await.ok()?;
        for order in &rest {
            work.publish(&Placed { order: *order }).ok()?;
        }
        // Of an error here it is unknown whether it was committed; none is expected, since the
        // connection is a new one.
        work.commit().await.expect("a commit on a new connection");
        Some(())
    })
    .await;
    ground.expect_effects("stock", &expected()).await;
    ground
        .expect_count("shop", "select count(*) from outbox", 0)
        .await;
}

async fn stopping_under_load_loses_nothing_and_doubles_nothing(ground: &Ground) {
    let stock = start_stock(ground).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=ORDERS).await;
    shop.stop().await;
    stock.stop().await;
    let _shop = Running::start(ground.participant("shop").await).await;
    let _stock = start_stock(ground).await;
    ground.expect_effects("stock", &expected()).await;
}

on_both_transports! {
    a_standbys_commits_reach_the_leader_at_once,
    when_the_leader_stops_another_takes_over,
    a_lost_database_session_only_delays,
    stopping_under_load_loses_nothing_and_doubles_nothing,
}

#[tokio::test]
async fn a_broker_that_goes_and_comes_back_loses_nothing() {
    let ground = Ground::rabbitmq().await;
    let proxy = FaultProxy::before(&ground.broker().url()).await;
    let behind_proxy = async |service: &str| {
        let transport = RabbitMq::new(proxy.url()).expect("a broker's address");
        let pool = ground.database.pool(service).await;
        EventBus::builder(service, pool, transport).settings(quick())
    };
    let stock = behind_proxy("stock").await;
    let stock = stock.handle::<Placed, _>(Effect::named("reserve"));
    let _stock = Running::start(stock).await;
    let shop = Running::start(behind_proxy("shop").await).await;
    shop.place(1..=100).await;
    ground
        .expect_count("stock", "select least(count(*), 10) from effects", 10)
        .await;

    proxy.cut().await;
    shop.place(101..=200).await;
    test_servers::eventually("it is noticed", BOUND, async || {
        (!shop.bus.health().broker_connected).then_some(())
    })
    .await;
    proxy.restore().await;
    for start in [201, 251] {
        shop.place(start..start + 50).await;
        proxy.cut_connections().await;
    }
    ground.expect_effects("stock", &expected()).await;
    test_servers::eventually("it is connected", BOUND, async || {
        shop.bus.health().broker_connected.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_commit_is_handled_long_before_the_next_poll() {
    let ground = Ground::rabbitmq().await;
    let _stock = start_stock(&ground).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    ground.expect_effects("stock", &[("reserve", 1)]).await;
    // Ten times through, one after the other, would take ten polls if a commit woke nobody.
    let started = tokio::time::Instant::now();
    for order in 2..=11 {
        shop.place([order]).await;
        let done: Vec<_> = (1..=i64::from(order)).map(|n| ("reserve", n)).collect();
        ground.expect_effects("stock", &done).await;
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "ten messages took {took:?}");
}
