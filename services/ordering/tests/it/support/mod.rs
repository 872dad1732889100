//! A shop of one's own for each test.

mod catalog;
mod orders;

use std::time::Duration;

use event_bus::{EntityEto as _, Message as _};
use event_contracts::catalog::{
    ProductEto, ProductPriceChangedEto, StockRejectedEto, StockReservedEto,
};
use event_contracts::identity::UserEto;
use ordering::{Ordering, Settings};
use service_host::{HostConfig, RunningService, Service as _, TestCall, TestIssuer};
use sqlx::PgPool;
use test_servers::{TestBroker, TestDatabase, eventually};

pub(crate) use catalog::Catalog;
pub(crate) use catalog::product;
pub(crate) use orders::{Person, id_of, order_for, path_of, problem, uuid, whats};

/// How long anything may take that goes by way of the broker, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A running ordering service with its servers, and everybody around it.
pub(crate) struct Shop {
    /// Catalog, as ordering knows it: on the bus and over HTTP.
    pub(crate) catalog: Catalog,
    /// Ordering's own database, to look behind the API.
    pub(crate) pool: PgPool,
    pub(crate) issuer: TestIssuer,
    pub(crate) http: reqwest::Client,
    running: RunningService,
    // Dropped after all that use them.
    broker: TestBroker,
    _database: TestDatabase,
}

impl Shop {
    /// Opens with settings as if the environment were empty.
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// Opens with some settings changed.
    pub(crate) async fn open_with(change: impl FnOnce(&mut Settings)) -> Self {
        let database = TestDatabase::create(&["ordering", "catalog"]).await;
        let broker = TestBroker::create().await;
        let issuer = TestIssuer::start().await;
        let catalog = Catalog::start(database.pool("catalog").await, &broker).await;
        let pool = database.pool("ordering").await;
        event_bus::migrate(&pool).await.unwrap();
        Ordering::migrator().run(&pool).await.unwrap();

        let mut settings = default_settings();
        settings.catalog_url = catalog.api.url();
        change(&mut settings);
        let config = HostConfig::local(database.url("ordering"), broker.url(), issuer.jwks_url());
        let running = service_host::start::<Ordering>(config, settings)
            .await
            .unwrap();
        let shop = Self {
            catalog,
            pool,
            issuer,
            http: reqwest::Client::new(),
            running,
            broker,
            _database: database,
        };
        shop.wait_until_ready().await;
        shop.wait_until_bound().await;
        shop
    }

    /// The URL of a path of ordering.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.http_addr)
    }

    /// Handles a request inside the process.
    pub(crate) async fn call(&self, call: &TestCall) -> (reqwest::StatusCode, serde_json::Value) {
        self.running.call(call).await
    }

    pub(crate) fn database(&self) -> &TestDatabase {
        &self._database
    }

    /// Waits until no session of ordering's is in a transaction that nobody goes on with, and the
    /// relay's lock is the only one.
    pub(crate) async fn expect_nothing_open(&self) {
        eventually("no transaction is left open", SOON, async || {
            (self._database.idle_transactions("ordering").await == 0).then_some(())
        })
        .await;
        eventually("the relay's is the only lock", SOON, async || {
            (self._database.advisory_locks("ordering").await == 1).then_some(())
        })
        .await;
    }

    /// The broker's URL, for another participant.
    pub(crate) fn broker_url(&self) -> String {
        self.broker.url()
    }

    /// Stops ordering and gives back what has to outlive it.
    pub(crate) async fn close(self) -> (PgPool, TestDatabase) {
        self.running.shutdown().await;
        (self.pool, self._database)
    }

    /// An event that nobody is bound for is gone, so no test begins before ordering is.
    async fn wait_until_bound(&self) {
        let own = [
            StockReservedEto::NAME,
            StockRejectedEto::NAME,
            ProductPriceChangedEto::NAME,
        ];
        let products = [
            ProductEto::CREATED,
            ProductEto::UPDATED,
            ProductEto::DELETED,
        ];
        let customers = [UserEto::CREATED, UserEto::UPDATED, UserEto::DELETED];
        for (queue, all) in [
            ("ordering", own),
            ("ordering.products", products),
            ("ordering.customers", customers),
        ] {
            eventually(queue, SOON, async || {
                let bindings = self.broker.bindings(queue).await;
                let is_bound =
                    |name: &&str| bindings.iter().any(|bound| bound.routing_key == **name);
                all.iter().all(is_bound).then_some(())
            })
            .await;
        }
    }

    async fn wait_until_ready(&self) {
        let url = self.url("/health/ready");
        eventually("ordering is ready, with its broker", SOON, async || {
            let response = self.http.get(&url).send().await.unwrap();
            let report: serde_json::Value = response.json().await.unwrap();
            (report["status"] == "ready").then_some(())
        })
        .await;
    }
}

/// What is set when nothing is.
pub(crate) fn default_settings() -> Settings {
    use clap::{Args as _, FromArgMatches as _};
    let command = Settings::augment_args(clap::Command::new("ordering"));
    Settings::from_arg_matches(&command.get_matches_from(["ordering"])).unwrap()
}
