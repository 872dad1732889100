//! The program, run as a process of its own.

use std::process::{Command, Output, Stdio};

use test_servers::{TestBroker, TestDatabase, eventually};

use crate::support::SOON;

/// Variables with which it could run, if there were anything at these addresses.
const NOWHERE: [(&str, &str); 2] = [
    (
        "DATABASE_URL",
        "postgres://identity:s3cret@127.0.0.1:9/waybill",
    ),
    ("AMQP_URL", "amqp://identity:s3cret@127.0.0.1:9"),
];

fn identity(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

#[test]
fn a_wrong_variable_is_one_line_and_exit_status_2() {
    for (variable, value) in [
        ("HTTP_ADDR", "nowhere"),
        ("METRICS_ADDR", "9083"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "loud=very=loud"),
        ("ENVIRONMENT", "staging"),
        ("DATABASE_MAX_CONNECTIONS", "many"),
        ("SEED_DEMO_DATA", "perhaps"),
        ("DEMO_PASSWORD", "short"),
        ("DATABASE_URL", "localhost"),
        ("AMQP_URL", "localhost"),
    ] {
        let output = identity(&[], &[NOWHERE.as_slice(), &[(variable, value)]].concat())
            .output()
            .unwrap();
        let line = complaint(&output);
        assert!(
            line.starts_with(&format!("identity: {variable}: ")),
            "{line}"
        );
    }
    let output = identity(&[], &NOWHERE[..1]).output().unwrap();
    assert_eq!(complaint(&output), "identity: AMQP_URL: is not set\n");
}

#[test]
fn production_refuses_what_everybody_knows() {
    for (variable, value) in [
        (
            "DATABASE_URL",
            "postgres://identity:identity@127.0.0.1:9/waybill",
        ),
        ("AMQP_URL", "amqp://guest:guest@127.0.0.1:9"),
        ("DEMO_PASSWORD", "waybill-demo"),
    ] {
        let production = [("ENVIRONMENT", "production"), ("SEED_DEMO_DATA", "true")];
        let variables = [NOWHERE.as_slice(), &production, &[(variable, value)]].concat();
        let demo = ("DEMO_PASSWORD", "nobody knows it");
        let variables = if variable == "DEMO_PASSWORD" {
            variables
        } else {
            [variables.as_slice(), &[demo]].concat()
        };
        let line = complaint(&identity(&[], &variables).output().unwrap());
        assert!(
            line.starts_with(&format!("identity: {variable}: ")),
            "{line}"
        );
    }
}

#[test]
fn a_service_that_is_not_there_is_not_healthy() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let address = free.to_string();
    let output = identity(&["healthcheck"], &[("HTTP_ADDR", &address)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn it_migrates_serves_reports_its_health_and_ends_when_told() {
    let database = TestDatabase::create(&["identity"]).await;
    let broker = TestBroker::create().await;
    let (database_url, amqp_url) = (database.url("identity"), broker.url());
    let output = identity(&["migrate"], &[("DATABASE_URL", &database_url)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let address = free.to_string();
    let variables = [
        ("DATABASE_URL", database_url.as_str()),
        ("AMQP_URL", &amqp_url),
        ("HTTP_ADDR", &address),
        ("METRICS_ADDR", "127.0.0.1:0"),
        ("LOG_FORMAT", "json"),
    ];
    let mut process = identity(&["serve"], &variables)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("healthcheck succeeds", SOON, async || {
        let mut check = identity(&["healthcheck"], &[("HTTP_ADDR", &address)]);
        let output = check.output().unwrap();
        output.status.success().then_some(())
    })
    .await;

    let told = Command::new("kill")
        .arg(process.id().to_string())
        .status()
        .unwrap();
    assert!(told.success());
    let status = eventually("the process ends", SOON, async || {
        process.try_wait().unwrap()
    })
    .await;
    assert_eq!(status.code(), Some(0));
    let mut log = String::new();
    std::io::Read::read_to_string(&mut process.stdout.take().unwrap(), &mut log).unwrap();
    for line in log.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        assert!(entry["level"].is_string(), "{line}");
    }
    assert!(log.contains("stopped"), "{log}");
}
