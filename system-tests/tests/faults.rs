//! Services and servers that go and come back: nothing is lost, nothing happens twice.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

use std::time::Duration;

use serde_json::json;
use system_tests::{Api, Name, PRODUCT_A, PrivateServer, System, Urls};
use test_servers::eventually;
use tokio::task::JoinSet;

const BOUND: Duration = Duration::from_secs(60);

#[tokio::test]
async fn orders_are_taken_while_catalog_is_down() {
    let mut system = System::start().await;
    // Ordering has heard of the product.
    let first = system.order(PRODUCT_A).await;
    assert_eq!(first.status, 201, "{first:?}");

    system.service_mut(Name::Catalog).stop();
    let placed = system.order(PRODUCT_A).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let id = placed.body["id"].as_str().expect("an id").to_owned();
    assert_eq!(system.state(&id).await.as_deref(), Some("placed"));

    system.service_mut(Name::Catalog).start();
    system.expect_state(&id, "confirmed", BOUND).await;
    assert_eq!(system.stock(PRODUCT_A).await, Some(51));
}

#[tokio::test]
async fn orders_are_taken_while_the_broker_is_down() {
    let broker = PrivateServer::rabbitmq();
    let system = System::start_with_broker(&broker.start()).await;
    let first = system.order(PRODUCT_A).await;
    let id = first.body["id"].as_str().expect("an id").to_owned();
    system.expect_state(&id, "confirmed", BOUND).await;

    broker.stop();
    let ordering = system.service(Name::Ordering).api();
    eventually("ordering says that it is degraded", BOUND, async || {
        let health = ordering.get("/health/ready").await;
        (health.status == 200 && health.body["status"] == "degraded").then_some(())
    })
    .await;
    let placed = system.order(PRODUCT_A).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let id = placed.body["id"].as_str().expect("an id").to_owned();

    let _ = broker.start();
    system.expect_state(&id, "confirmed", BOUND).await;
    assert_eq!(system.stock(PRODUCT_A).await, Some(51));
    eventually("all is well again", BOUND, async || {
        let health = ordering.get("/health/ready").await;
        (health.body["status"] == "ready").then_some(())
    })
    .await;
}

/// Places orders from several clients until told to stop; counts what was answered with 201.
async fn load(ordering: Api, product: String, stop: tokio::sync::watch::Receiver<bool>) -> u64 {
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (ordering, product, stop) = (ordering.clone(), product.clone(), stop.clone());
        clients.spawn(async move {
            let mut placed = 0;
            while !*stop.borrow() {
                let body = json!({ "customerName": "Load", "productId": product });
                let answer = ordering.post("/api/ordering/order", body).await;
                placed += u64::from(answer.status == 201);
            }
            placed
        });
    }
    clients.join_all().await.into_iter().sum()
}

#[tokio::test]
async fn killing_any_service_under_load_loses_nothing_and_doubles_nothing() {
    const STOCK: i64 = 500_000;
    let mut system = System::start().await;
    let token = system.sign_in("olivia").await;
    let catalog = system.service(Name::Catalog).api().with_token(&token);
    let product = json!({ "name": "Nail", "price": "0.10", "stockCount": STOCK });
    let created = catalog.post("/api/catalog/product", product).await;
    let product = created.body["id"].as_str().expect("an id").to_owned();

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let ordering = system.service(Name::Ordering).api();
    let load = tokio::spawn(load(ordering, product.clone(), stopped));
    for victim in [
        Name::Catalog,
        Name::Ordering,
        Name::Catalog,
        Name::Ordering,
        Name::Identity,
    ] {
        let before = system
            .count(Name::Ordering, "select count(*) from orders")
            .await;
        eventually("orders are coming in", BOUND, async || {
            let now = system
                .count(Name::Ordering, "select count(*) from orders")
                .await;
            (now > before + 200).then_some(())
        })
        .await;
        system.service_mut(victim).kill();
        system.service_mut(victim).start();
        system.service(victim).wait_until_ready(BOUND).await;
    }
    stop.send_replace(true);
    let answered = load.await.expect("the load ran");

    eventually("every order is decided", BOUND, async || {
        let query = "select count(*) from orders where state = 'placed'";
        (system.count(Name::Ordering, query).await == 0).then_some(())
    })
    .await;
    let orders = system
        .count(Name::Ordering, "select count(*) from orders")
        .await;
    let confirmed = system
        .count(
            Name::Ordering,
            "select count(*) from orders where state = 'confirmed'",
        )
        .await;
    let reserved = STOCK - system.stock(&product).await.expect("a stock");
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
    for service in [Name::Catalog, Name::Ordering] {
        let dead = system
            .count(service, "select count(*) from dead_letters")
            .await;
        assert_eq!(dead, 0, "dead letters of {service:?}");
    }
}

#[tokio::test]
async fn services_that_start_before_their_servers_become_ready_by_themselves() {
    // The ports are settled by a first start; then both servers are away.
    let (postgres, rabbitmq) = (PrivateServer::postgres(), PrivateServer::rabbitmq());
    let (database_url, broker) = (postgres.start(), rabbitmq.start());
    create_roles(&database_url).await;
    let in_role = |name: &str| {
        let (scheme, rest) = database_url.split_once("://").expect("a URL");
        let host = rest.split_once('@').map_or(rest, |(_, host)| host);
        let host = host.split('/').next().unwrap_or(host);
        format!("{scheme}://{name}:{name}@{host}/waybill")
    };
    let mut system = System::prepare(Urls {
        databases: Name::ALL.map(|name| in_role(name.as_str())),
        broker,
    });
    system.migrate();
    postgres.stop();
    rabbitmq.stop();

    for name in [Name::Ordering, Name::Identity, Name::Catalog] {
        system.service_mut(name).start();
    }
    for name in Name::ALL {
        let api = system.service(name).api();
        eventually(
            "it lives and says that it is not ready",
            BOUND,
            async || {
                let live = api.get("/health/live").await.status == 200;
                (live && api.get("/health/ready").await.status == 503).then_some(())
            },
        )
        .await;
    }
    let refused = system.order(PRODUCT_A).await;
    assert_eq!(refused.status, 503, "{refused:?}");

    let _ = postgres.start();
    system.wait_until_ready(BOUND).await;
    let placed = system.order(PRODUCT_A).await;
    assert_eq!(
        placed.status, 201,
        "the broker is not needed to take an order: {placed:?}"
    );
    let id = placed.body["id"].as_str().expect("an id").to_owned();
    let _ = rabbitmq.start();
    system.expect_state(&id, "confirmed", BOUND).await;
}

/// What the scripts and the compose file do at the first start.
async fn create_roles(superuser_url: &str) {
    use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

    let mut server = PgConnection::connect(superuser_url)
        .await
        .expect("a superuser");
    server
        .execute("create database waybill")
        .await
        .expect("a database");
    let (base, _) = superuser_url
        .rsplit_once('/')
        .expect("a database in the URL");
    let mut database = PgConnection::connect(&format!("{base}/waybill"))
        .await
        .expect("the database");
    for name in Name::ALL.map(Name::as_str) {
        let sql = format!(
            "create role {name} login password '{name}'; create schema {name} authorization {name}"
        );
        database.execute(AssertSqlSafe(sql)).await.expect("a role");
    }
}
