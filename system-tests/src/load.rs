//! Orders from many clients, and what must be true of them in the end.

use std::time::Duration;

use serde_json::json;
use test_servers::eventually;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::{Api, Name, System};

const BOUND: Duration = Duration::from_secs(60);
/// More than are ordered while a test runs.
const STOCK: i64 = 500_000;
const CLIENTS: usize = 8;
/// Orders after which it can be said that they are coming in.
const SOME: i64 = 200;

/// Clients that order one product from all instances of ordering.
#[derive(Debug)]
pub struct Load {
    product: String,
    stop: watch::Sender<bool>,
    clients: JoinSet<u64>,
}

impl Load {
    /// Makes the product and begins to order it: each of the eight clients one every `pace`, or
    /// when it is answered if that takes longer.
    pub async fn start(system: &System, pace: Duration) -> Self {
        let product = system.create_product("Nail", STOCK).await;
        let (stop, stopped) = watch::channel(false);
        let replicas = system.replicas(Name::Ordering).iter().cycle();
        let clients = replicas
            .take(CLIENTS)
            .map(|replica| order_until(replica.api(), product.clone(), pace, stopped.clone()))
            .collect();
        Self {
            product,
            stop,
            clients,
        }
    }

    /// What is ordered.
    #[must_use]
    pub fn product(&self) -> &str {
        &self.product
    }

    /// Waits until more orders have come in.
    pub async fn goes_on(&self, system: &System) {
        let orders = "select count(*) from orders";
        let before = system.count(Name::Ordering, orders).await;
        eventually("orders are coming in", BOUND, async || {
            let now = system.count(Name::Ordering, orders).await;
            (now > before + SOME).then_some(())
        })
        .await;
    }

    /// Ends it, and when all is decided, checks that nothing was lost and nothing happened twice.
    pub async fn finish(self, system: &System) {
        self.stop.send_replace(true);
        let answered: u64 = self.clients.join_all().await.into_iter().sum();
        eventually("every order is decided", BOUND, async || {
            let open = "select count(*) from orders where state = 'placed'";
            (system.count(Name::Ordering, open).await == 0).then_some(())
        })
        .await;
        let orders = "select count(*) from orders";
        let orders = system.count(Name::Ordering, orders).await;
        let confirmed = "select count(*) from orders where state = 'confirmed'";
        let confirmed = system.count(Name::Ordering, confirmed).await;
        let reserved = STOCK - system.stock(&self.product).await.expect("a stock");
        assert_eq!(confirmed, orders, "there was stock for all of them");
        assert_eq!(
            reserved, confirmed,
            "one from the stock for each confirmed order"
        );
        // An order may have been taken whose answer was lost with the process, never the reverse.
        assert!(
            orders as u64 >= answered,
            "{orders} orders, {answered} promised"
        );
        system.expect_no_dead_letters().await;
    }
}

/// Places orders until told to stop; counts what was answered with 201.
async fn order_until(
    ordering: Api,
    product: String,
    pace: Duration,
    stop: watch::Receiver<bool>,
) -> u64 {
    let mut placed = 0;
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow() {
        ticks.tick().await;
        let body = json!({ "customerName": "Load", "productId": product });
        let answer = ordering.post("/api/ordering/order", body).await;
        placed += u64::from(answer.status == 201);
    }
    placed
}
