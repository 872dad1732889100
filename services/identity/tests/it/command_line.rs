//! The executable, run as a separate process.

use std::process::{Command, Output, Stdio};

use test_servers::{TestBroker, TestDatabase, eventually};

use crate::support::SOON;

/// A valid configuration. No server listens at these addresses.
const UNREACHABLE: [(&str, &str); 2] = [
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

fn config_error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    text
}

#[test]
fn an_invalid_variable_gives_one_line_and_exit_status_2() {
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
        let output = identity(
            &[],
            &[UNREACHABLE.as_slice(), &[(variable, value)]].concat(),
        )
        .output()
        .unwrap();
        let line = config_error(&output);
        assert!(
            line.starts_with(&format!("identity: {variable}: ")),
            "{line}"
        );
    }
    let output = identity(&[], &UNREACHABLE[..1]).output().unwrap();
    assert_eq!(config_error(&output), "identity: AMQP_URL: is not set\n");
}

#[test]
fn production_rejects_default_credentials() {
    for (variable, value) in [
        (
            "DATABASE_URL",
            "postgres://identity:identity@127.0.0.1:9/waybill",
        ),
        ("AMQP_URL", "amqp://guest:guest@127.0.0.1:9"),
        ("DEMO_PASSWORD", "waybill-demo"),
    ] {
        let production = [("ENVIRONMENT", "production"), ("SEED_DEMO_DATA", "true")];
        let variables = [UNREACHABLE.as_slice(), &production, &[(variable, value)]].concat();
        let demo = ("DEMO_PASSWORD", "not the default");
        let variables = if variable == "DEMO_PASSWORD" {
            variables
        } else {
            [variables.as_slice(), &[demo]].concat()
        };
        let line = config_error(&identity(&[], &variables).output().unwrap());
        assert!(
            line.starts_with(&format!("identity: {variable}: ")),
            "{line}"
        );
    }
}

#[test]
fn the_healthcheck_fails_if_no_service_listens() {
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
async fn it_migrates_serves_reports_its_health_and_stops_on_sigterm() {
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

    let killed = Command::new("kill")
        .arg(process.id().to_string())
        .status()
        .unwrap();
    assert!(killed.success());
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
