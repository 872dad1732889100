//! A running catalog, and what tests need to talk to it.

mod answer;
mod ordering;

use std::time::Duration;

use catalog::{Catalog, Settings};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use service_host::{HostConfig, RunningService, Service as _, TestIssuer};
use test_servers::{TestBroker, TestDatabase, eventually};
use uuid::Uuid;

pub(crate) use answer::Answer;
pub(crate) use ordering::{Heard, Ordering, order};

/// Longer than anything here should take, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// What writing needs.
pub(crate) const MANAGE: &str = "catalog.products.manage";

/// The servers of one test.
pub(crate) struct Servers {
    pub(crate) database: TestDatabase,
    pub(crate) broker: TestBroker,
    pub(crate) issuer: TestIssuer,
}

impl Servers {
    /// With the tables that `catalog migrate` makes, and the bus's for ordering.
    pub(crate) async fn start() -> Self {
        let database = TestDatabase::create(&["catalog", "ordering"]).await;
        let pool = database.pool("catalog").await;
        event_bus::migrate(&pool).await.expect("the bus's tables");
        let migrator = Catalog::migrator();
        migrator.run(&pool).await.expect("the catalog's tables");
        Self {
            database,
            broker: TestBroker::create().await,
            issuer: TestIssuer::start().await,
        }
    }

    /// An instance of the catalog on these servers, ready to answer.
    pub(crate) async fn run(&self, settings: Settings) -> Instance {
        let instance = self.launch(settings).await;
        instance.wait_until_ready().await;
        instance
    }

    /// An instance of the catalog on these servers that has just been started.
    pub(crate) async fn launch(&self, settings: Settings) -> Instance {
        let config = HostConfig::local(
            self.database.url("catalog"),
            self.broker.url(),
            self.issuer.jwks_url(),
        );
        let running = service_host::start::<Catalog>(config, settings)
            .await
            .expect("the service starts");
        Instance {
            running,
            client: Client::new(),
        }
    }
}

/// A catalog in this process.
pub(crate) struct Instance {
    pub(crate) running: RunningService,
    client: Client,
}

impl Instance {
    /// A request by nobody in particular.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.running.http_addr);
        self.client.request(method, url)
    }

    pub(crate) async fn wait_until_ready(&self) {
        eventually("the catalog is ready", SOON, async || {
            let answer = Answer::to(self.request(Method::GET, "/health/ready")).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

/// One catalog on servers of its own, and somebody who may write.
pub(crate) struct TestCatalog {
    pub(crate) instance: Instance,
    pub(crate) servers: Servers,
    token: String,
}

/// The settings of a catalog that begins empty.
pub(crate) const EMPTY: Settings = Settings {
    seed_demo_data: false,
};

impl TestCatalog {
    pub(crate) async fn start() -> Self {
        let servers = Servers::start().await;
        let instance = servers.run(EMPTY).await;
        Self::of(instance, servers)
    }

    pub(crate) fn of(instance: Instance, servers: Servers) -> Self {
        let token = servers.issuer.token(Uuid::now_v7(), "Olivia", &[MANAGE]);
        Self {
            instance,
            servers,
            token,
        }
    }

    /// The access token of the manager.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The service that orders, as far as the catalog knows it.
    pub(crate) async fn ordering(&self) -> Ordering {
        Ordering::start(&self.servers).await
    }

    /// A request by the manager.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.instance.request(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.instance.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, if_match: &str, body: Value) -> Answer {
        let request = self.request(Method::PUT, path);
        Answer::to(request.header("if-match", if_match).json(&body)).await
    }

    pub(crate) async fn put_price(&self, path: &str, price: Value) -> Answer {
        let request = self.request(Method::PUT, &format!("{path}/price"));
        Answer::to(request.json(&json!({ "price": price }))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::DELETE, path)).await
    }

    /// Creates a product and tells its id.
    pub(crate) async fn product(&self, name: &str, price: &str, stock: u32) -> Uuid {
        let body = json!({ "name": name, "price": price, "stockCount": stock });
        let answer = self.post("/api/catalog/product", body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        id_of(&answer.body)
    }

    /// The stock of a product, as the API tells it.
    pub(crate) async fn stock(&self, product: Uuid) -> i64 {
        let answer = self.get(&path_of(product)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["stockCount"].as_i64().expect("a stockCount")
    }

    /// Waits until the stock of a product is this.
    pub(crate) async fn wait_for_stock(&self, product: Uuid, stock: i64) {
        let what = format!("the stock becomes {stock}");
        eventually(&what, SOON, async || {
            (self.stock(product).await == stock).then_some(())
        })
        .await;
    }

    /// No message has failed, or waits for another attempt.
    pub(crate) async fn expect_no_dead_letters_and_no_retries(&self) {
        let pool = self.servers.database.pool("catalog").await;
        let query =
            "select (select count(*) from dead_letters) + (select count(*) from inbox_retries)";
        let failed: i64 = sqlx::query_scalar(query)
            .fetch_one(&pool)
            .await
            .expect("the bus's tables");
        assert_eq!(failed, 0);
    }

    /// Waits until the catalog has handled this many messages since it was first started.
    pub(crate) async fn wait_for_handled(&self, messages: i64) {
        let pool = self.servers.database.pool("catalog").await;
        let what = format!("the catalog has handled {messages} messages");
        eventually(&what, SOON, async || {
            let handled: i64 = sqlx::query_scalar("select count(*) from inbox")
                .fetch_one(&pool)
                .await
                .expect("the inbox");
            (handled == messages).then_some(())
        })
        .await;
    }
}

pub(crate) fn path_of(product: Uuid) -> String {
    format!("/api/catalog/product/{product}")
}

pub(crate) fn id_of(product: &Value) -> Uuid {
    let id = product["id"].as_str().expect("an id");
    id.parse().expect("a UUID")
}
