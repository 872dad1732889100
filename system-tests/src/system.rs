//! The three services together.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use test_servers::{TestBroker, TestDatabase};

use crate::{Answer, Name, ServiceProcess};

/// *Product A* of the demo data, of which there are 53.
pub const PRODUCT_A: &str = "5995897b-1de9-7272-b31c-3a165bbe7b18";

/// Of all demo users, unless `DEMO_PASSWORD` says otherwise.
const DEMO_PASSWORD: &str = "waybill-demo";

/// How long a service may take to be ready on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// Where a service's servers are.
#[derive(Debug, Clone)]
pub struct Urls {
    /// For each service, in the order of [`Name::ALL`].
    pub databases: [String; 3],
    /// The broker, or the nodes of a cluster of them, separated by commas.
    pub broker: String,
}

/// The three services on servers of their own, one instance of each or several.
#[derive(Debug)]
pub struct System {
    /// The replicas of each service, in the order of [`Name::ALL`].
    services: [Vec<ServiceProcess>; 3],
    urls: Urls,
    // Dropped after the services that use them.
    _database: Option<TestDatabase>,
    _broker: Option<TestBroker>,
}

impl System {
    /// Migrates, starts all services and waits until they are ready.
    pub async fn start() -> Self {
        let broker = TestBroker::create().await;
        let url = broker.url();
        Self {
            _broker: Some(broker),
            ..Self::start_with_broker(&url).await
        }
    }

    /// The same, with a broker that the test looks after.
    pub async fn start_with_broker(broker: &str) -> Self {
        Self::start_replicas(1, broker).await
    }

    /// The same, with so many instances of each service.
    pub async fn start_replicas(replicas: usize, broker: &str) -> Self {
        let names = Name::ALL.map(Name::as_str);
        let database = TestDatabase::create(&names).await;
        let urls = Urls {
            databases: names.map(|name| database.url(name)),
            broker: broker.to_owned(),
        };
        let mut system = Self {
            _database: Some(database),
            ..Self::prepare_replicas(replicas, urls)
        };
        system.migrate();
        for service in system.services.iter_mut().flatten() {
            service.start();
        }
        system.wait_until_ready(READY).await;
        system
    }

    /// The services with their configuration, not started, on servers that need not be there yet.
    #[must_use]
    pub fn prepare(urls: Urls) -> Self {
        Self::prepare_replicas(1, urls)
    }

    fn prepare_replicas(replicas: usize, urls: Urls) -> Self {
        let logs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/system-tests");
        std::fs::create_dir_all(&logs).expect("a folder for logs");
        let mut services = Name::ALL.map(|name| {
            let replicas = (0..replicas).map(|_| ServiceProcess::new(name, &logs));
            replicas.collect::<Vec<_>>()
        });
        let catalog = services[0][0].base_url();
        let identity = services[2][0].base_url();
        for (replicas, database) in services.iter_mut().zip(&urls.databases) {
            for service in replicas {
                service.set_environment(vec![
                    ("DATABASE_URL", database.clone()),
                    ("AMQP_URL", urls.broker.clone()),
                    ("CATALOG_URL", catalog.clone()),
                    (
                        "IDENTITY_JWKS_URL",
                        format!("{identity}/.well-known/jwks.json"),
                    ),
                    ("SEED_DEMO_DATA", "true".to_owned()),
                ]);
            }
        }
        Self {
            services,
            urls,
            _database: None,
            _broker: None,
        }
    }

    /// Migrates all schemas.
    pub fn migrate(&self) {
        for replicas in &self.services {
            replicas[0].migrate();
        }
    }

    /// Waits until all services are ready.
    pub async fn wait_until_ready(&self, within: Duration) {
        for service in self.services.iter().flatten() {
            service.wait_until_ready(within).await;
        }
    }

    /// One of the services; its first instance.
    #[must_use]
    pub fn service(&self, name: Name) -> &ServiceProcess {
        &self.services[name as usize][0]
    }

    /// One of the services, to be stopped or started; its first instance.
    pub fn service_mut(&mut self, name: Name) -> &mut ServiceProcess {
        &mut self.services[name as usize][0]
    }

    /// All instances of one of the services.
    #[must_use]
    pub fn replicas(&self, name: Name) -> &[ServiceProcess] {
        &self.services[name as usize]
    }

    /// Orders one of a product as a guest.
    pub async fn order(&self, product: &str) -> Answer {
        let body = json!({ "customerName": "David", "productId": product });
        let ordering = self.service(Name::Ordering).api();
        ordering.post("/api/ordering/order", body).await
    }

    /// The access token of a demo user.
    pub async fn sign_in(&self, user: &str) -> String {
        let grant =
            json!({ "grant_type": "password", "username": user, "password": DEMO_PASSWORD });
        let identity = self.service(Name::Identity).api();
        let answer = identity.post("/api/identity/token", grant).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        text(&answer.body["access_token"])
    }

    /// One more instance of a service, configured as the others and not started.
    pub fn add_replica(&mut self, name: Name) -> &mut ServiceProcess {
        let replicas = &mut self.services[name as usize];
        let another = replicas[0].another();
        replicas.push(another);
        let last = replicas.len() - 1;
        &mut replicas[last]
    }

    /// Makes a product with so much stock, as somebody may who looks after the catalog. Returns its
    /// id.
    pub async fn create_product(&self, name: &str, stock: i64) -> String {
        let token = self.sign_in("olivia").await;
        let catalog = self.service(Name::Catalog).api().with_token(&token);
        let product = json!({ "name": name, "price": "0.10", "stockCount": stock });
        let created = catalog.post("/api/catalog/product", product).await;
        assert_eq!(created.status, 201, "{created:?}");
        text(&created.body["id"])
    }

    /// How many of a product there are, as the catalog's API says.
    pub async fn stock(&self, product: &str) -> Option<i64> {
        let catalog = self.service(Name::Catalog).api();
        let answer = catalog
            .get(&format!("/api/catalog/product/{product}"))
            .await;
        answer.body["stockCount"].as_i64()
    }

    /// The state of an order, as ordering's API says.
    pub async fn state(&self, order: &str) -> Option<String> {
        let ordering = self.service(Name::Ordering).api();
        let answer = ordering.get(&format!("/api/ordering/order/{order}")).await;
        answer.body["state"].as_str().map(str::to_owned)
    }

    /// Waits until an order has come to a state.
    pub async fn expect_state(&self, order: &str, state: &str, within: Duration) {
        test_servers::eventually(state, within, async || {
            (self.state(order).await.as_deref() == Some(state)).then_some(())
        })
        .await;
    }

    /// That no service has given up on a message.
    pub async fn expect_no_dead_letters(&self) {
        for service in Name::ALL {
            let dead = "select count(*) from dead_letters";
            let dead = self.count(service, dead).await;
            assert_eq!(dead, 0, "dead letters of {service:?}");
        }
    }

    /// A number from a service's schema, for what its API does not tell.
    pub async fn count(&self, name: Name, query: &'static str) -> i64 {
        let mut connection = PgConnection::connect(&self.urls.databases[name as usize])
            .await
            .expect("the service's database");
        sqlx::query_scalar(query)
            .fetch_one(&mut connection)
            .await
            .expect("a count")
    }
}

/// The text of a JSON string.
fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
