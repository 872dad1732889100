//! Orders placed over HTTP, with their complete sagas.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use system_tests::Name;

use crate::CONNECTIONS;
use crate::limits::Limits;
use crate::load::Pace;
use crate::report::Figure;
use crate::report::Unit::{Megabytes, Milliseconds, PerSecond, Seconds};
use crate::shop::Shop;

const ROW: &str = "orders";
pub(super) const PRODUCTS: usize = 1000;
const WARM_UP: Duration = Duration::from_secs(3);
const DURATION: Duration = Duration::from_secs(60);
const MEMORY_INTERVAL: Duration = Duration::from_millis(500);
/// Messages per order: placed, reserved, confirmed.
const MESSAGES: f64 = 3.0;

/// The results of an unpaced load.
pub(super) struct Unpaced {
    /// Completed orders per second, from the first order to the last completion.
    pub(super) per_second: f64,
    /// Seconds from the end of the load to the last completion.
    pub(super) left_over: f64,
    pub(super) latency: Histogram<u64>,
    pub(super) rejected: u64,
}

/// Places orders on all connections, each as soon as the last one has its response.
pub(super) async fn unpaced(shop: &Shop, duration: Duration) -> anyhow::Result<Unpaced> {
    let before = shop.changes().await?;
    let started = Instant::now();
    let outcome = shop.order(CONNECTIONS, Pace::Unpaced, duration).await?;
    let ended = Instant::now();
    shop.wait_for_changes(before + 2 * outcome.accepted).await?;
    let completed = Instant::now();
    shop.expect_all_confirmed().await?;
    Ok(Unpaced {
        per_second: outcome.accepted as f64 / (completed - started).as_secs_f64(),
        left_over: (completed - ended).as_secs_f64(),
        latency: outcome.latency,
        rejected: outcome.rejected,
    })
}

/// The row `orders`, with the memory of the services under this load.
pub(super) async fn measure(limits: &Limits) -> anyhow::Result<Vec<Figure>> {
    let transactions = limits.many_clients().await?.per_second;
    let flowing = limits.broker().await?.flowing;
    let shop = Shop::open(PRODUCTS).await?;
    unpaced(&shop, WARM_UP).await?;

    let (measured, peaks) = with_memory(&shop).await?;
    let rate = measured.per_second;
    let mut figures = vec![
        Figure::new(ROW, "orders, each with its complete saga", rate, PerSecond)
            .of("pgbench, two inserts", transactions)
            .at_least(0.8),
        Figure::new(ROW, "messages of these orders", rate * MESSAGES, PerSecond)
            .of("bare client, both ways", flowing)
            .at_least(0.6),
        percentile(ROW, "POST at 64 connections", &measured.latency, 50.0),
        percentile(ROW, "POST at 64 connections", &measured.latency, 99.0),
        Figure::new(
            ROW,
            "work waiting when the load ends",
            measured.left_over,
            Seconds,
        )
        .at_most(1.0),
        Figure::new(
            ROW,
            "rejected with 503",
            measured.rejected as f64 / DURATION.as_secs_f64(),
            PerSecond,
        ),
    ];
    for (name, peak) in Name::ALL.into_iter().zip(peaks) {
        let what = format!("{} under load", name.as_str());
        figures.push(Figure::new("memory", what, peak, Megabytes).at_most(60.0));
    }
    Ok(figures)
}

/// Runs the load, and samples the peak memory of each service meanwhile.
async fn with_memory(shop: &Shop) -> anyhow::Result<(Unpaced, [f64; 3])> {
    let load = unpaced(shop, DURATION);
    tokio::pin!(load);
    let mut peaks = memory(shop)?;
    loop {
        tokio::select! {
            measured = &mut load => return Ok((measured?, peaks)),
            () = tokio::time::sleep(MEMORY_INTERVAL) => {}
        }
        for (peak, now) in peaks.iter_mut().zip(memory(shop)?) {
            *peak = peak.max(now);
        }
    }
}

fn memory(shop: &Shop) -> anyhow::Result<[f64; 3]> {
    let [catalog, ordering, identity] = Name::ALL.map(|name| shop.memory(name));
    Ok([catalog?, ordering?, identity?])
}

/// A percentile of latencies as a figure.
pub(super) fn percentile(
    row: &'static str,
    what: &str,
    latency: &Histogram<u64>,
    percent: f64,
) -> Figure {
    let value = latency.value_at_percentile(percent) as f64 / 1000.0;
    Figure::new(row, format!("{what}, p{percent}"), value, Milliseconds)
}
