//! How throughput depends on consumers, contention, backlog and body size.

use std::time::Duration;

use system_tests::Name;

use super::orders::{PRODUCTS, unpaced};
use crate::limits;
use crate::participants::{Participants, Role};
use crate::report::Figure;
use crate::report::Unit::PerSecond;
use crate::shop::{BOUND, Shop};

const ROW: &str = "growth";
const DURATION: Duration = Duration::from_secs(10);
const MANY_PRODUCTS: usize = 10_000;
/// Rows in the outbox.
const BACKLOGS: [i64; 3] = [1_000, 100_000, 1_000_000];
/// Body sizes in bytes, each with enough messages for a few seconds.
const BODIES: [(usize, i64); 3] = [(200, 60_000), (1_000, 60_000), (64_000, 6_000)];

/// The row `growth`.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for instances in [1, 2, 4] {
        let rate = orders(PRODUCTS, instances).await?;
        figures.push(figure(
            format!("orders, catalog instances: {instances}"),
            rate,
        ));
    }
    for (what, products) in [("one hot product", 1), ("10,000 products", MANY_PRODUCTS)] {
        figures.push(figure(
            format!("orders, {what}"),
            orders(products, 1).await?,
        ));
    }
    for backlog in BACKLOGS {
        let participants = Participants::prepare().await?;
        let rate = participants.relay(backlog, limits::USUAL_BODY).await?;
        figures.push(figure(format!("relay, {backlog} rows in the outbox"), rate));
    }
    for (body, messages) in BODIES {
        figures.extend(of_size(body, messages).await?);
    }
    Ok(figures)
}

fn figure(what: String, value: f64) -> Figure {
    Figure::new(ROW, what, value, PerSecond)
}

/// Orders per second, each with its complete saga.
async fn orders(products: usize, catalogs: usize) -> anyhow::Result<f64> {
    let mut shop = Shop::open(products).await?;
    for _ in 1..catalogs {
        shop.system.add_replica(Name::Catalog).start();
    }
    shop.system.wait_until_ready(BOUND).await;
    unpaced(&shop, DURATION / 4).await?;
    Ok(unpaced(&shop, DURATION).await?.per_second)
}

/// Measures relay and dispatcher with bodies of one size, and the bare client with the same size.
async fn of_size(body: usize, messages: i64) -> anyhow::Result<[Figure; 2]> {
    let limit = limits::broker(body, usize::try_from(messages)?).await?;
    let participants = Participants::prepare().await?;
    let relayed = participants.relay(messages, body).await?;
    let handled = participants.consume(Role::Set, messages).await?;
    Ok([
        figure(format!("relay, bodies of {body} bytes"), relayed)
            .of("bare publisher", limit.publishing),
        figure(format!("dispatcher, bodies of {body} bytes"), handled)
            .of("bare consumer", limit.consuming),
    ])
}
