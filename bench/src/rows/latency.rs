//! The latency of an order when the services are not overloaded.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;
use hdrhistogram::Histogram;
use uuid::Uuid;

use super::orders::{PRODUCTS, percentile};
use crate::CONNECTIONS;
use crate::limits::Limits;
use crate::load::{Pace, histogram};
use crate::report::Figure;
use crate::shop::Shop;

const ORDERS_A_SECOND: f64 = 200.0;
/// Pause between orders, long enough for the saga of an order to complete.
const REST: Duration = Duration::from_millis(50);
const DURATION: Duration = Duration::from_secs(15);
const WARM_UP: Duration = Duration::from_secs(2);

/// The row `latency`: from the commit of an order to the commit of its reservation, and the
/// response time of its POST.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let shop = Shop::open(PRODUCTS).await?;
    let pace = Pace::PerSecond(ORDERS_A_SECOND);
    shop.order(CONNECTIONS, pace, WARM_UP).await?;
    shop.expect_all_confirmed().await?;
    let warmed_up = shop.changes().await?;
    let outcome = shop.order(CONNECTIONS, pace, DURATION).await?;
    shop.wait_for_changes(warmed_up + 2 * outcome.accepted)
        .await?;
    shop.expect_all_confirmed().await?;

    let latency = from_commit_to_commit(&shop, warmed_up).await?;
    ensure!(
        latency.len() == outcome.accepted,
        "the reservation of an order is missing"
    );
    let what = "commit to handler's commit at 200 orders/s";
    Ok(vec![
        percentile("latency", what, &latency, 50.0).at_most(5.0),
        percentile("latency", what, &latency, 99.0).at_most(25.0),
        percentile("latency", "POST at 200 orders/s", &outcome.latency, 50.0),
        percentile("latency", "POST at 200 orders/s", &outcome.latency, 99.0),
    ])
}

/// The times between commits, from the commit timestamps that PostgreSQL itself records.
async fn from_commit_to_commit(shop: &Shop, after: u64) -> anyhow::Result<Histogram<u64>> {
    let placed: Vec<(Uuid, i64)> = sqlx::query_as(
        "select order_id,
                (extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint
         from order_history where what = 'placed' and id > $1",
    )
    .bind(i64::try_from(after)?)
    .fetch_all(&shop.ordering)
    .await?;
    let reserved: HashMap<Uuid, i64> = sqlx::query_as(
        "select order_id,
                (extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint
         from reservations",
    )
    .fetch_all(&shop.catalog)
    .await?
    .into_iter()
    .collect();
    let mut latency = histogram();
    for (order, placed_at) in placed {
        if let Some(reserved_at) = reserved.get(&order) {
            latency.saturating_record(u64::try_from(reserved_at - placed_at)?);
        }
    }
    Ok(latency)
}

/// The row `single`: one client that orders continuously, while the sagas of its earlier orders run
/// concurrently, and one that pauses after each order until its saga has completed.
pub(super) async fn of_one_client(limits: &Limits) -> anyhow::Result<Vec<Figure>> {
    let unpaced = &limits.one_client().await?.latency;
    let rested = &limits.rested_client().await?.latency;
    let shop = Shop::open(PRODUCTS).await?;
    shop.order(1, Pace::Unpaced, WARM_UP).await?;
    let mut figures = Vec::new();
    for (what, pace, limit) in [
        ("POST of one client", Pace::Unpaced, unpaced),
        ("POST of one client, rested", Pace::Resting(REST), rested),
    ] {
        let outcome = shop.order(1, pace, DURATION).await?;
        shop.expect_all_confirmed().await?;
        let limit = limit.value_at_quantile(0.5) as f64 / 1000.0;
        let latency = |percent| percentile("single", what, &outcome.latency, percent);
        figures.push(
            latency(50.0)
                .of("pgbench, two inserts, p50", limit)
                .at_most(2.0),
        );
        figures.push(latency(99.0));
    }
    Ok(figures)
}
