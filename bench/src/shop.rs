//! The shop as a whole: the three services as release binaries, in the configuration of the compose
//! file, on a database and a virtual host of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sqlx::PgPool;
use system_tests::{Name, System, Urls};
use test_servers::{TestBroker, TestDatabase, eventually};
use uuid::Uuid;

use crate::load::{Load, Outcome, Pace};

/// How long a service may take to be ready, and an order to be answered.
pub(crate) const BOUND: Duration = Duration::from_secs(120);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Of each product, which is as many as catalog allows.
const STOCK: i32 = 999_999;

/// The services, ready, and their databases.
pub(crate) struct Shop {
    // Dropped in this order: the services first, the servers' parts last.
    pub(crate) system: System,
    pub(crate) catalog: PgPool,
    pub(crate) ordering: PgPool,
    products: Arc<Vec<Uuid>>,
    _broker: TestBroker,
    _database: TestDatabase,
}

impl Shop {
    /// Opens with so many products, all of them known to ordering.
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
        eventually("ordering knows the products", BOUND, async || {
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

    /// Lets orders come.
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

    /// How often the states of orders have changed so far. Placing is one change, and so is what
    /// comes of catalog's answer. A look costs the same whatever has happened.
    pub(crate) async fn changes(&self) -> anyhow::Result<u64> {
        let changes: Option<i64> = sqlx::query_scalar(
            "select last_value from pg_sequences
             where schemaname = 'ordering' and sequencename = 'order_history_id_seq'",
        )
        .fetch_one(&self.ordering)
        .await?;
        Ok(u64::try_from(changes.unwrap_or(0))?)
    }

    /// Waits until the states have changed so often.
    pub(crate) async fn wait_for_changes(&self, changes: u64) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.changes().await? < changes {
            ensure!(
                started.elapsed() < BOUND,
                "orders wait for their answer in vain"
            );
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until every order has its answer, and that was a yes.
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
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// What a service has in memory now (its resident set), in megabytes.
    pub(crate) fn memory(&self, name: Name) -> anyhow::Result<f64> {
        let id = self.system.service(name).id();
        let id = id.context("the service runs")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|text| text.split_whitespace().next());
        let kilobytes: f64 = kilobytes.context("the kernel says it")?.parse()?;
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
