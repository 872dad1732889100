//! A participant in another language, with the CloudEvents project's SDK for it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use event_bus::Message as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, Ground, OrderPlaced, Running, order};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/cloud_events.py");
/// What the script needs. An environment for other requirements is another one.
const REQUIREMENTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/interop/requirements.txt"
);

/// The Python that has the packages, in an environment of its own.
fn python() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    include_str!("requirements.txt").hash(&mut hasher);
    let folder = format!("python-{:016x}", hasher.finish());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    test_servers::install_once(&folder, |folder| {
        let environment = Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder.join("environment"))
            .output();
        match environment {
            Err(error) => panic!("python3 can't be run ({error}): install Python 3.10 or later"),
            Ok(output) if !output.status.success() => {
                panic!("python3 can't make an environment: install its venv (Debian: python3-venv)")
            }
            Ok(_) => {}
        }
        let pip = Command::new(folder.join("environment/bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--requirement", REQUIREMENTS])
            .output()
            .expect("the environment has a python");
        assert!(
            pip.status.success(),
            "pip can't get what {REQUIREMENTS} names: {}",
            String::from_utf8_lossy(&pip.stderr)
        );
    });
    folder.join("environment/bin/python")
}

/// Runs the participant and gives what it prints.
async fn participant(ground: &Ground, arguments: &[&str]) -> String {
    let mut command = Command::new(python());
    command.arg(SCRIPT).arg(ground.broker.url()).args(arguments);
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = running.await.expect("it ends").expect("it can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it prints text")
}

#[tokio::test]
async fn a_python_client_reads_what_is_published() {
    let ground = Ground::new().await;
    let client = Client::connect(&ground).await;
    client.bind("python", OrderPlaced::NAME).await;
    let shop = Running::start(ground.participant("shop").await).await;
    let order = order(5);
    shop.publish(&order).await;

    let printed = participant(&ground, &["consume", "python"]).await;
    let event: Value = serde_json::from_str(&printed).expect("it prints JSON");
    let attributes = &event["attributes"];
    assert_eq!(attributes["specversion"], "1.0");
    assert_eq!(attributes["type"], OrderPlaced::NAME);
    assert_eq!(attributes["source"], "shop");
    assert_eq!(attributes["datacontenttype"], "application/json");
    assert_eq!(attributes["dataversion"], 2);
    assert_eq!(attributes["partitionkey"], json!(order.order_id));
    let time = attributes["time"].as_str().expect("a time");
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    let data: OrderPlaced = serde_json::from_value(event["data"].clone()).expect("the order");
    assert_eq!(data, order);
}

#[tokio::test]
async fn what_a_python_client_publishes_is_handled() {
    let ground = Ground::new().await;
    let (_stock, mut heard) = ground.listening_stock().await;
    for (mode, quantity) in [("binary", 6), ("structured", 7)] {
        let (id, correlation) = (Uuid::new_v4(), Uuid::new_v4());
        let event = json!({
            "attributes": {
                "id": id,
                "type": OrderPlaced::NAME,
                "source": "urn:partner:python",
                "time": "2024-11-01T12:30:00.500000+00:00",
                "datacontenttype": "application/json",
                "dataversion": 2,
                "correlationid": correlation,
            },
            "data": { "orderId": Uuid::nil(), "quantity": quantity },
        });
        participant(&ground, &["publish", mode, &event.to_string()]).await;

        let received = heard.next().await;
        assert_eq!(received.id(), id, "{mode}");
        assert_eq!(received.source(), "urn:partner:python", "{mode}");
        assert_eq!(
            received.time().to_string(),
            "2024-11-01T12:30:00.5Z",
            "{mode}"
        );
        assert_eq!(received.correlation_id(), correlation, "{mode}");
        assert_eq!(received.quantity, quantity, "{mode}");
    }
}
