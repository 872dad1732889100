//! Orders that come faster than their messages get away.
//!
//! So that none gets away, a test takes the relay's lock: it waits for it, and then ends the session
//! that has it.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use sqlx::PgConnection;
use test_servers::eventually;
use uuid::Uuid;

use crate::support::{SOON, Shop, order_for};

const RELAY_LOCK: &str =
    "pg_advisory_lock(hashtextextended('event_bus_relay.' || current_schema(), 0))";

/// Ends the relay, until the session that is given back has ended.
async fn stop_relay(shop: &Shop) -> PgConnection {
    let mut session = shop.pool.acquire().await.unwrap().detach();
    let waiting = tokio::spawn(async move {
        let take = sqlx::AssertSqlSafe(format!("select {RELAY_LOCK}"));
        sqlx::raw_sql(take).execute(&mut session).await.unwrap();
        session
    });
    eventually(
        "the relay's session stands in the way, and ends",
        SOON,
        async || {
            let end = "select pg_terminate_backend(holder)
                   from pg_stat_activity, unnest(pg_blocking_pids(pid)) as holder
                   where datname = current_database() and wait_event = 'advisory'";
            let ended = sqlx::query(end).fetch_optional(&shop.pool).await.unwrap();
            ended.map(|_| ())
        },
    )
    .await;
    waiting.await.unwrap()
}

/// How long so many orders take, one after the other.
async fn time_of_orders(shop: &Shop, product: Uuid, orders: u32) -> Duration {
    let started = Instant::now();
    for _ in 0..orders {
        let request = shop.request(Method::POST, "/api/ordering/order", None);
        let placed = request.json(&order_for(product, 1)).send().await.unwrap();
        assert_eq!(placed.status(), StatusCode::CREATED);
    }
    started.elapsed()
}

#[tokio::test]
async fn orders_slow_down_while_messages_wait_and_none_is_refused() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let relay_is_stopped = stop_relay(&shop).await;
    time_of_orders(&shop, lamp, 1).await;
    let long_ago = "update outbox set created_at = created_at - interval '1 minute'";
    sqlx::query(long_ago).execute(&shop.pool).await.unwrap();

    // Two writers, so that pauses of 250 ms run in pairs.
    let slow = time_of_orders(&shop, lamp, 12).await;
    assert!(slow > Duration::from_secs(1), "twelve orders took {slow:?}");

    drop(relay_is_stopped);
    eventually("the outbox is empty", SOON, async || {
        let waits = "select from outbox";
        let row = sqlx::query(waits).fetch_optional(&shop.pool).await.unwrap();
        row.is_none().then_some(())
    })
    .await;
    eventually("orders are as fast as before", SOON, async || {
        (time_of_orders(&shop, lamp, 12).await < slow / 2).then_some(())
    })
    .await;
}
