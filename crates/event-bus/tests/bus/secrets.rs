//! Bodies hold personal data. Nothing of them is logged or stored as a reason.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use event_bus::{
    BodyError, DecodeError, Envelope, Event, Handler, HandlerError, Message, Received, UnitOfWork,
    UpcastError,
};
use lapin::BasicProperties;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use crate::hostile::clients::publish;
use crate::support::{Effect, Ground, Placed, Running, placed};

const SECRET: &str = "Zx9SECRETq";
const BODIES: usize = 150;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invoice {
    number: u32,
    #[serde(default)]
    lines: Vec<Line>,
    #[serde(default)]
    paid: Option<Payment>,
    #[serde(default)]
    notes: BTreeMap<String, bool>,
    #[serde(default)]
    id: Uuid,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    quantity: u8,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payment {
    Cash,
    Card { digits: u16 },
    Split(Vec<Payment>),
}

impl Message for Invoice {
    type Kind = Event;
    const NAME: &'static str = "shop.invoice.issued";
    const VERSION: u32 = 2;

    fn upcast(_: u32, body: Value) -> Result<Value, UpcastError> {
        serde_json::from_value::<BTreeMap<String, u8>>(body.clone())?;
        Ok(body)
    }
}

fn decode(version: u32, body: &str) -> Result<Invoice, DecodeError> {
    let envelope = Envelope {
        name: Invoice::NAME.to_owned(),
        version,
        body: body.to_owned().into(),
        ..placed(0)
    };
    envelope.decode()
}

fn reason(body: &Value) -> String {
    let error = decode(2, &body.to_string()).expect_err("it is no invoice");
    event_bus::error_reasons(&error).join(": ")
}

#[test]
fn what_is_wrong_with_a_body_is_told_by_its_place_and_kind() {
    let prefix = "the body is no `shop.invoice.issued`: ";
    for (body, wrong) in [
        (
            json!({ "number": SECRET }),
            "at /number: invalid type, expected u32",
        ),
        (
            json!({ "number": -1 }),
            "at /number: invalid value, expected u32",
        ),
        (json!({ "lines": [] }), "missing field `number`"),
        (
            json!({ "number": 1, "lines": [{ "quantity": 1 }, { "quantity": SECRET }] }),
            "at /lines/1/quantity: invalid type, expected u8",
        ),
        (json!({ "number": 1, SECRET: 1 }), "at /*: unknown field"),
        (
            json!({ "number": 1, "notes": { SECRET: SECRET } }),
            "at /notes/*: invalid type, expected a boolean",
        ),
        (
            json!({ "number": 1, "paid": SECRET }),
            "at /paid: unknown variant",
        ),
        (
            json!({ "number": 1, "paid": { "card": { "digits": SECRET } } }),
            "at /paid/card/digits: invalid type, expected u16",
        ),
        (
            json!({ "number": 1, "id": SECRET }),
            "at /id: invalid value",
        ),
        (json!([SECRET]), "at /0: invalid type, expected u32"),
    ] {
        assert_eq!(reason(&body), format!("{prefix}{wrong}"), "{body}");
    }
    let broken = decode(2, "{\"number\": 1, \"Zx9SECRETq\"").expect_err("it is no JSON");
    let broken = event_bus::error_reasons(&broken);
    assert_eq!(broken[1], "incomplete JSON at line 1 column 26");
    let twice = decode(2, "{\"number\": 1, \"number\": 2}").expect_err("it is there twice");
    let twice = event_bus::error_reasons(&twice);
    assert_eq!(twice[1], "JSON of another type at line 1 column 22");
}

#[test]
fn a_body_error_is_an_error_that_can_be_shown() {
    fn is_shown<E: std::error::Error + Send + Sync + 'static>() {}
    is_shown::<BodyError>();
}

prop_compose! {
    fn any_text()(before in "[a-z ,`\"]{0,6}", after in "(, expected [a-z]{3})?") -> String {
        format!("{before}{SECRET}{after}")
    }
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        any_text(),
        prop::sample::select(vec![
            "number", "lines", "quantity", "paid", "card", "cash", "split", "digits", "notes",
            "id",
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_key(), inner, 0..5)
                .prop_map(|object| object.into_iter().collect()),
        ]
    })
}

/// JSON, and JSON that ends too early.
fn any_body() -> impl Strategy<Value = String> {
    (
        any_json(),
        prop::option::weighted(0.2, any::<prop::sample::Index>()),
    )
        .prop_map(|(body, cut)| {
            let mut body = body.to_string();
            if let Some(cut) = cut {
                body.truncate(cut.index(body.len() + 1));
            }
            body
        })
}

proptest! {
    #[test]
    fn no_decode_error_quotes_the_body(body in any_body(), version in 1_u32..=3) {
        if let Err(error) = decode(version, &body) {
            let reasons = event_bus::error_reasons(&error).join(": ");
            prop_assert!(!reasons.contains(SECRET), "{}", reasons);
            if let DecodeError::Body { .. } = error {
                let shown = format!("{error:?}");
                prop_assert!(!shown.contains(SECRET), "{}", shown);
            }
        }
    }
}

/// Hands what it is given to parsers and to the database, whose errors quote it.
struct Careless;

impl Handler<Invoice> for Careless {
    async fn handle(&self, _: Received<Invoice>, _: &mut UnitOfWork) -> Result<(), HandlerError> {
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the note can't be read: {0}")]
struct UnreadableNote(#[source] serde_json::Error);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl Message for Note {
    type Kind = Event;
    const NAME: &'static str = "shop.note.written";
}

impl Handler<Note> for Careless {
    async fn handle(
        &self,
        note: Received<Note>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        match note.text.len() % 3 {
            0 => drop(serde_json::from_value::<u32>(json!(note.text))?),
            1 => drop(
                serde_json::from_value::<Vec<u32>>(json!([note.text])).map_err(UnreadableNote)?,
            ),
            _ => {
                sqlx::query("select $1::text::integer")
                    .bind(&note.text)
                    .execute(&mut **work)
                    .await?;
            }
        }
        Ok(())
    }
}

/// All that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().map_err(|_| io::Error::other("a panic"))?;
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_body_is_logged_or_stored_as_a_reason() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info,event_bus=trace,sqlx=debug"))
        .with_ansi(false)
        .with_writer(log.clone())
        .init();
    let ground = Ground::rabbitmq().await;
    let stock = ground
        .participant("stock")
        .await
        .handle::<Invoice, _>(Careless)
        .handle::<Note, _>(Careless)
        .handle::<Placed, _>(Effect::named("fence"));
    let stock = Running::start(stock).await;
    stock.bus.bound().await;
    let mut runner = TestRunner::deterministic();
    let bodies = any_body();
    for number in 0..BODIES {
        let tree = bodies.new_tree(&mut runner).expect("a body");
        let body = tree.current();
        let version = 1 + u32::try_from(number % 3).expect("a digit");
        let hostile = Envelope {
            name: Invoice::NAME.to_owned(),
            version,
            body: body.into(),
            ..placed(0)
        };
        ground.inject(hostile).await;
    }
    for length in 0..6 {
        let note = Note {
            text: format!("{SECRET}{}", "x".repeat(length)),
        };
        let body = serde_json::to_vec(&note).expect("it is JSON");
        ground
            .inject(Envelope {
                name: Note::NAME.to_owned(),
                body: body.into(),
                ..placed(0)
            })
            .await;
    }
    let structured =
        || BasicProperties::default().with_content_type("application/cloudevents+json".into());
    for body in [
        json!({ "id": SECRET, "type": Placed::NAME, "specversion": "1.0", "data": 1 }),
        json!({ "id": SECRET, "type": Placed::NAME, "specversion": SECRET, "data": 1 }),
        json!({ "id": "1", "source": "a", "type": Placed::NAME, "dataversion": SECRET }),
        json!({ "id": "1", "source": "a", "type": Placed::NAME, SECRET: "a\0b" }),
        json!([SECRET]),
    ] {
        let body = body.to_string();
        publish(&ground, structured(), body.as_bytes()).await;
    }
    ground.inject(placed(7)).await;
    ground.expect_effects("stock", &[("fence", 7)]).await;
    ground
        .expect_count("stock", "select count(*) from inbox_retries", 0)
        .await;

    // In two parts, since queries are logged.
    let leaking = "select count(*) from dead_letters
                   where array_to_string(reasons, ' ') like '%Zx9' || 'SECRETq%'";
    ground.expect_count("stock", leaking, 0).await;
    let pool = ground.database.pool("stock").await;
    let dead: i64 = sqlx::query_scalar("select count(*) from dead_letters")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert!(dead > 100, "{dead} dead letters");
    let written = log.0.lock().expect("no panic before").clone();
    let written = String::from_utf8_lossy(&written);
    assert!(written.contains("a message went to the dead letters"));
    let leaks: Vec<_> = written.lines().filter(|l| l.contains(SECRET)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
