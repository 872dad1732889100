//! The examples do what they say. Building the tests builds them, too.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

use std::path::PathBuf;
use std::time::Duration;

use test_servers::{TestBroker, TestDatabase};
use tokio::process::Command;

const BOUND: Duration = Duration::from_secs(60);

/// What an example prints, line by line.
async fn output_of(example: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let test = std::env::current_exe().expect("a test is a file");
    let built: PathBuf = test
        .ancestors()
        .nth(2)
        .expect("it is in the folder of what was built")
        .join("examples")
        .join(example);
    let mut command = Command::new(&built);
    command.envs(environment.iter().copied()).kill_on_drop(true);
    let output = tokio::time::timeout(BOUND, command.output()).await;
    let output = output
        .expect("it ends in time")
        .unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example} failed: {errors}");
    let printed = String::from_utf8(output.stdout).expect("text");
    printed.lines().map(str::to_owned).collect()
}

/// A database in which the role `example` may make a schema.
async fn database() -> TestDatabase {
    let database = TestDatabase::create(&["example"]).await;
    database.allow_schemas("example").await;
    database
}

#[tokio::test]
async fn two_services_confirm_what_is_in_stock_and_reject_the_rest() {
    let expected = [
        "shop: order 1 over 3 pieces is placed",
        "shop: order 2 over 4 pieces is placed",
        "shop: order 3 over 2 pieces is placed",
        "shop: order 1 is confirmed by stock, which has 2 left",
        "shop: order 2 is rejected by stock",
        "shop: order 3 is confirmed by stock, which has 0 left",
    ];
    assert_eq!(output_of("two_services", &[]).await, expected);
}

#[tokio::test]
async fn a_duplicate_does_not_change_the_statement() {
    let (database, broker) = (database().await, TestBroker::create().await);
    let urls = [
        ("DATABASE_URL", database.url("example")),
        ("AMQP_URL", broker.url()),
    ];
    let environment = urls.each_ref().map(|(name, url)| (*name, url.as_str()));
    let expected = [
        "30 is paid in",
        "12 is paid in",
        "a deposit of 1000 is taken back",
        "100 is announced, under the same id",
        "100 is announced, under the same id",
        "the statement has 3 deposits, 142 in all",
    ];
    assert_eq!(output_of("postgres_rabbitmq", &environment).await, expected);
    let queues = broker.queues().await;
    assert!(queues.is_empty(), "it leaves {queues:?}");
}

#[tokio::test]
async fn an_order_is_confirmed_by_its_payment_or_cancelled_by_its_time_out() {
    let database = database().await;
    let url = database.url("example");
    let printed = output_of("saga_with_timeout", &[("DATABASE_URL", &url)]).await;
    let expected = [
        "order 1 waits for its payment",
        "order 2 waits for its payment",
        "order 1 is paid; its time-out is cancelled: true",
        "order 2 is not paid in time",
        "order 2 is paid too late, the money goes back",
        "order 1 is confirmed",
        "order 2 is refunded",
    ];
    assert_eq!(printed, expected);
}
