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
    let own_pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut session)
        .await
        .unwrap();
    let taking = tokio::spawn(async move {
        let take = sqlx::AssertSqlSafe(format!("select {RELAY_LOCK}"));
        sqlx::raw_sql(take).execute(&mut session).await.unwrap();
        session
    });
    eventually("no relay stands in the way", SOON, async || {
        let end = "select pg_terminate_backend(pid) from unnest(pg_blocking_pids($1)) as pid";
        let end = sqlx::query(end).bind(own_pid);
        end.execute(&shop.pool).await.unwrap();
        taking.is_finished().then_some(())
    })
    .await;
    taking.await.unwrap()
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

    // The age of the outbox is looked at now and then. There are two writers, so that pauses of
    // 250 ms run in pairs: twelve orders have to wait for at least five of them.
    let slow = Duration::from_secs(1);
    eventually("orders slow down", SOON, async || {
        (time_of_orders(&shop, lamp, 12).await > slow).then_some(())
    })
    .await;

    drop(relay_is_stopped);
    eventually("the outbox is empty", SOON, async || {
        let waits = "select from outbox";
        let row = sqlx::query(waits).fetch_optional(&shop.pool).await.unwrap();
        row.is_none().then_some(())
    })
    .await;
    eventually("orders are as fast as before", SOON, async || {
        (time_of_orders(&shop, lamp, 12).await < slow).then_some(())
    })
    .await;
}
