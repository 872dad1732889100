//! The time from the start of a service until it is ready, and its memory when idle.

use std::time::{Duration, Instant};

use anyhow::ensure;
use system_tests::{Name, ServiceProcess};

use crate::report::Figure;
use crate::report::Unit::{Megabytes, Milliseconds};
use crate::shop::Shop;

const TRIES: usize = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// Time in which a service releases the memory that its start needed.
const IDLE_TIME: Duration = Duration::from_secs(5);
const BOUND: Duration = Duration::from_secs(30);

/// The row `start`: the median of several starts of each service on existing data, and its memory
/// when it is idle afterwards.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut shop = Shop::open(1).await?;
    let mut figures = Vec::new();
    for name in Name::ALL {
        let mut took = Vec::with_capacity(TRIES);
        for _ in 0..TRIES {
            took.push(restart(shop.system.service_mut(name)).await?);
        }
        took.sort_unstable();
        let milliseconds = took[TRIES / 2].as_secs_f64() * 1000.0;
        let what = format!("{} until ready", name.as_str());
        figures.push(Figure::new("start", what, milliseconds, Milliseconds).at_most(300.0));
    }
    tokio::time::sleep(IDLE_TIME).await;
    for name in Name::ALL {
        let what = format!("{} idle", name.as_str());
        let idle = shop.memory(name)?;
        figures.push(Figure::new("memory", what, idle, Megabytes).at_most(25.0));
    }
    Ok(figures)
}

async fn restart(service: &mut ServiceProcess) -> anyhow::Result<Duration> {
    service.stop();
    let started = Instant::now();
    service.start();
    let api = service.api();
    loop {
        let response = api.get("/health/ready").await;
        // `degraded` has status 200, too, but some part of the service is not ready yet.
        if response.status == 200 && response.body["status"] == "ready" {
            return Ok(started.elapsed());
        }
        ensure!(
            started.elapsed() < BOUND,
            "a service did not become ready: {response:?}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
