//! The complete shop: the three services as release binaries, configured as in the compose file,
//! on their own database and virtual host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sqlx::PgPool;
use system_tests::{Name, System, Urls};
use test_servers::{TestBroker, TestDatabase, eventually};
use uuid::Uuid;

use crate::load::{Load, Outcome, Pace};

/// Upper bound for a service to become ready, and for an order to complete.
pub(crate) const BOUND: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Stock of each product: the maximum that catalog allows.
const STOCK: i32 = 999_999;

/// The running services, and pools for their databases.
pub(crate) struct Shop {
    // Dropped in this order: the services first, the virtual host and the database last.
    pub(crate) system: System,
    pub(crate) catalog: PgPool,
    pub(crate) ordering: PgPool,
    products: Arc<Vec<Uuid>>,
    _broker: TestBroker,
    _database: TestDatabase,
}

impl Shop {
    /// Starts the services with this many products, and waits until ordering has all of them.
    pub(crate) async fn open(products: usize) -> anyhow::Result<Self> {
        let names = Name::ALL.map(Name::as_str);
        let database = TestDatabase::create(&names).await;
        let broker = TestBroker::create().await;
        let mut system = System::prepare(Urls {
            databases: names.map(|name| database.url(name)),
            broker: broker.url(),
        });
        system.migrate();
        let catalog = database.pool("catalog").await;
        let products = stock_up(&catalog, products).await?;
        for name in Name::ALL {
            system.service_mut(name).start();
        }
        system.wait_until_ready(BOUND).await;
        let shop = Self {
            system,
            catalog,
            ordering: database.pool("ordering").await,
            products: Arc::new(products),
            _broker: broker,
            _database: database,
        };
        eventually("ordering has the products", BOUND, async || {
            let known = "select count(*) from products";
            let known: i64 = sqlx::query_scalar(known)
                .fetch_one(&shop.ordering)
                .await
                .ok()?;
            (usize::try_from(known).ok()? >= shop.products.len()).then_some(())
        })
        .await;
        Ok(shop)
    }

    /// Places orders.
    pub(crate) async fn order(
        &self,
        connections: usize,
        pace: Pace,
        duration: Duration,
    ) -> anyhow::Result<Outcome> {
        let url = self.system.service(Name::Ordering).base_url();
        let load = Load {
            address: url.trim_start_matches("http://").to_owned(),
            connections,
            pace,
            duration,
            products: self.products.clone(),
        };
        load.run().await
    }

    /// Number of state changes of all orders so far. Each order has two: it is placed, and it is
    /// confirmed or rejected. The cost of this query does not depend on the number of orders.
    pub(crate) async fn changes(&self) -> anyhow::Result<u64> {
        let changes: Option<i64> = sqlx::query_scalar(
            "select last_value from pg_sequences
             where schemaname = 'ordering' and sequencename = 'order_history_id_seq'",
        )
        .fetch_one(&self.ordering)
        .await?;
        Ok(u64::try_from(changes.unwrap_or(0))?)
    }

    /// Waits for this many state changes in total.
    pub(crate) async fn wait_for_changes(&self, changes: u64) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.changes().await? < changes {
            ensure!(started.elapsed() < BOUND, "orders did not complete in time");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until every order is confirmed.
    pub(crate) async fn expect_all_confirmed(&self) -> anyhow::Result<()> {
        let others = "select count(*) from orders where state <> 'confirmed'";
        let started = Instant::now();
        loop {
            let others: i64 = sqlx::query_scalar(others).fetch_one(&self.ordering).await?;
            if others == 0 {
                return Ok(());
            }
            ensure!(
                started.elapsed() < BOUND,
                "{others} orders are not confirmed"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Current memory of a service (its resident set), in megabytes.
    pub(crate) fn memory(&self, name: Name) -> anyhow::Result<f64> {
        let id = self.system.service(name).id();
        let id = id.context("the service is not running")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|text| text.split_whitespace().next());
        let kilobytes: f64 = kilobytes
            .context("the process status has no resident set size")?
            .parse()?;
        Ok(kilobytes / 1000.0)
    }
}

async fn stock_up(catalog: &PgPool, products: usize) -> anyhow::Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar(
        "insert into products (id, name, price, stock_count, version, created_at, updated_at)
         select gen_random_uuid(), 'Product ' || number, 9.99, $2, 1, now(), now()
         from generate_series(1, $1) as number
         returning id",
    )
    .bind(i32::try_from(products)?)
    .bind(STOCK)
    .fetch_all(catalog)
    .await?)
}
