//! From starting a service to its being ready, and what it has in memory then.

use std::time::{Duration, Instant};

use anyhow::ensure;
use system_tests::{Name, ServiceProcess};

use crate::report::Figure;
use crate::report::Unit::{Megabytes, Milliseconds};
use crate::shop::Shop;

const TRIES: usize = 5;
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Until what starting took is given back.
const SETTLE: Duration = Duration::from_secs(5);
const BOUND: Duration = Duration::from_secs(30);

/// The row `start`: the median of some starts of each service on data that are there already, and its
/// memory when it has nothing to do after that.
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
    tokio::time::sleep(SETTLE).await;
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
        let answer = api.get("/health/ready").await;
        // `degraded` serves as well, but not all of it is there yet.
        if answer.status == 200 && answer.body["status"] == "ready" {
            return Ok(started.elapsed());
        }
        ensure!(
            started.elapsed() < BOUND,
            "a service does not get ready: {answer:?}"
        );
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
