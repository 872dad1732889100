//! Services and servers that go and come back: nothing is lost, nothing happens twice.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

use std::time::Duration;

use system_tests::{Load, Name, PRODUCT_A, PrivateServer, System, Urls};
use test_servers::eventually;

const BOUND: Duration = Duration::from_secs(60);
/// As fast as two cores can.
const PACE: Duration = Duration::from_millis(1);

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

#[tokio::test]
async fn killing_any_service_under_load_loses_nothing_and_doubles_nothing() {
    let mut system = System::start().await;
    let load = Load::start(&system, PACE).await;
    for victim in [
        Name::Catalog,
        Name::Ordering,
        Name::Catalog,
        Name::Ordering,
        Name::Identity,
    ] {
        load.goes_on(&system).await;
        system.service_mut(victim).kill();
        system.service_mut(victim).start();
        system.service(victim).wait_until_ready(BOUND).await;
    }
    load.finish(&system).await;
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
