//! A network cut between a client and a real PostgreSQL.
#![expect(clippy::expect_used, reason = "what fails here has to fail the test")]

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use test_servers::{FaultProxy, TestDatabase};

const ROLE: &str = "test_alpha";

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .expect("the proxy lets it through")
}

#[tokio::test]
async fn a_cut_breaks_connections_and_refuses_new_ones_until_it_is_restored() {
    let database = TestDatabase::create(&[ROLE]).await;
    let proxy = FaultProxy::before(&database.url(ROLE)).await;
    let mut connection = connect(proxy.url()).await;
    connection.ping().await.expect("the proxy forwards");

    assert_eq!(proxy.cut().await, 1);
    connection.ping().await.expect_err("it is broken");
    let refused = PgConnection::connect(proxy.url())
        .await
        .expect_err("new ones are refused");
    match refused {
        sqlx::Error::Io(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused),
        other => panic!("refused in another way: {other}"),
    }

    proxy.restore().await;
    proxy.restore().await;
    connect(proxy.url()).await.ping().await.expect("it is back");
}

#[tokio::test]
async fn connections_can_be_cut_while_new_ones_come_through() {
    let database = TestDatabase::create(&[ROLE]).await;
    let proxy = FaultProxy::before(&database.url(ROLE)).await;
    let (mut one, mut other) = tokio::join!(connect(proxy.url()), connect(proxy.url()));

    assert_eq!(proxy.cut_connections().await, 2);
    one.ping().await.expect_err("it is broken");
    other.ping().await.expect_err("it is broken");
    connect(proxy.url()).await.ping().await.expect("a new one");
}

#[tokio::test]
async fn the_other_side_of_a_proxy_is_closed_with_its_owner() {
    let database = TestDatabase::create(&[ROLE]).await;
    let proxy = FaultProxy::before(&database.url(ROLE)).await;
    let mut connection = connect(proxy.url()).await;
    drop(proxy);
    connection.ping().await.expect_err("the proxy is gone");
}

#[tokio::test]
async fn a_silent_network_loses_what_is_sent_and_closes_nothing_until_it_is_restored() {
    const UNANSWERED: Duration = Duration::from_millis(300);
    let database = TestDatabase::create(&[ROLE]).await;
    let proxy = FaultProxy::before(&database.url(ROLE)).await;
    let mut connection = connect(proxy.url()).await;

    assert_eq!(proxy.silence().await, 1);
    let ping = tokio::time::timeout(UNANSWERED, connection.ping()).await;
    assert!(ping.is_err(), "neither an answer nor an end: {ping:?}");
    let new = tokio::time::timeout(UNANSWERED, PgConnection::connect(proxy.url())).await;
    assert!(new.is_err(), "a new connection is not answered either");

    proxy.restore().await;
    connect(proxy.url()).await.ping().await.expect("a new one");
}
