//! A pool whose sessions others have left in a transaction.

use bytes::Bytes;
use event_bus::{Envelope, EventBus, InMemory, Lineage};
use tokio_util::sync::CancellationToken;

use super::{full_pool, leave_open};
use crate::support::{BOUND, Effect, Ground, Placed, Running, on_both_transports, quick};

on_both_transports! {
    a_dead_letter_is_committed_before_its_message_is_acknowledged,
    a_bus_works_on_sessions_that_others_left_in_a_failed_transaction,
}

async fn a_dead_letter_is_committed_before_its_message_is_acknowledged(ground: &Ground) {
    let pool = full_pool(&ground.database.url("stock"), 6).await;
    let stock = ground.participant_on("stock", pool.clone());
    let stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    stock.bus.bound().await;
    leave_open(&pool, "select").await;

    let envelope = Envelope::encode("shop", Lineage::begin(), &Placed { order: 1 });
    let unreadable = Envelope {
        version: 99,
        body: Bytes::from_static(b"{]"),
        ..envelope.expect("it is JSON")
    };
    for _ in 0..10 {
        let id = uuid::Uuid::now_v7();
        ground
            .inject(Envelope {
                id,
                ..unreadable.clone()
            })
            .await;
    }
    ground
        .expect_count("stock", "select count(*) from dead_letters", 10)
        .await;
}

async fn a_bus_works_on_sessions_that_others_left_in_a_failed_transaction(ground: &Ground) {
    for statement in ["select 1 / 0", "select"] {
        let pool = full_pool(&ground.database.url("stock"), 6).await;
        // The bus begins with such sessions, its relay too.
        leave_open(&pool, statement).await;
        let stock = ground.participant_on("stock", pool.clone());
        let stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
        stock.bus.bound().await;
        leave_open(&pool, statement).await;
        let shop = Running::start(ground.participant("shop").await).await;
        shop.place([1]).await;
        ground.expect_effects("stock", &[("reserve", 1)]).await;
        stock.stop().await;
        pool.close().await;
        sqlx::query("delete from effects")
            .execute(&ground.database.pool("stock").await)
            .await
            .expect("deleted");
    }
}

/// A future of a unit of work that is dropped leaves the session for the others to use.
#[tokio::test]
async fn a_pool_of_few_sessions_survives_dropped_futures() {
    let ground = Ground::in_memory().await;
    let pool = full_pool(&ground.database.url("shop"), 3).await;
    let shutdown = CancellationToken::new();
    let bus = EventBus::builder("shop", pool, InMemory::new())
        .settings(quick())
        .start(shutdown.clone())
        .await
        .expect("it starts");
    let commit = async || bus.begin().await?.commit().await;
    test_servers::cut_everywhere("commit", commit)
        .await
        .expect("committed");
    shutdown.cancel();
    tokio::time::timeout(BOUND, bus.stopped())
        .await
        .expect("it stops");
    assert_eq!(ground.database.idle_transactions("shop").await, 0);
}
