//! Two participants that use only the bus, each in its own process: a publisher with a full outbox,
//! and a consumer with a full queue.

mod program;

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;
use event_bus::Lineage;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use sqlx::PgPool;
use test_servers::{TestBroker, TestDatabase, eventually};
use tokio::process::{Child, Command};

use self::program::WorkDone;
pub(crate) use self::program::{Participation, Role, run};
use crate::limits;

/// Upper bound for every wait. A million messages take some minutes on a small machine.
const BOUND: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The consumer's queue. Its name is that of the consumer.
const QUEUE: &str = "consumer";

/// Schemas, a virtual host, and the consumer's queue, bound to the publisher's messages.
pub(crate) struct Participants {
    // Dropped in this order, connections first.
    publisher: PgPool,
    consumer: PgPool,
    broker: TestBroker,
    database: TestDatabase,
}

impl Participants {
    pub(crate) async fn prepare() -> anyhow::Result<Self> {
        let database = TestDatabase::create(&["publisher", "consumer"]).await;
        let participants = Self {
            publisher: database.pool("publisher").await,
            consumer: database.pool("consumer").await,
            broker: TestBroker::create().await,
            database,
        };
        event_bus::migrate(&participants.publisher).await?;
        event_bus::migrate(&participants.consumer).await?;
        let effects = "create table effects (
                           number bigint generated always as identity primary key,
                           message_id uuid not null)";
        sqlx::query(effects).execute(&participants.consumer).await?;
        // The queue remains after the consumer has run once.
        let consumer = participants.start(Role::Set)?;
        eventually("the consumer's queue is bound", BOUND, async || {
            let bindings = participants.broker.bindings(QUEUE).await;
            (!bindings.is_empty()).then_some(())
        })
        .await;
        consumer.stop().await?;
        Ok(participants)
    }

    /// Starts a participant in its own process.
    fn start(&self, role: Role) -> anyhow::Result<Participant> {
        let value = role.to_possible_value().context("every role has a name")?;
        let child = Command::new(std::env::current_exe()?)
            .arg("participate")
            .arg(value.get_name())
            .env("DATABASE_URL", self.database.url(role.name()))
            .env("AMQP_URL", self.broker.url())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Participant(child))
    }

    /// Fills the publisher's outbox in one transaction.
    async fn fill_outbox(&self, messages: i64, body: usize) -> anyhow::Result<()> {
        let (attributes, body) = Self::pattern(body)?;
        // Each message gets its own UUIDv7 with the current time.
        sqlx::query(
            "insert into outbox (attributes, body)
             select jsonb_set($1, '{id}', to_jsonb(
                        overlay(($1 ->> 'id') placing substr(gen_random_uuid()::text, 15) from 15))),
                    $2
             from generate_series(1, $3)",
        )
        .bind(attributes)
        .bind(body)
        .bind(messages)
        .execute(&self.publisher)
        .await?;
        Ok(())
    }

    /// Lets the bus encode a message. Returns its attributes and its body, as in the outbox.
    fn pattern(body: usize) -> anyhow::Result<(serde_json::Value, Vec<u8>)> {
        let around = serde_json::to_vec(&WorkDone {
            filling: String::new(),
        })?
        .len();
        let envelope = event_bus::Envelope::encode(
            "publisher",
            Lineage::begin(),
            &WorkDone {
                filling: "x".repeat(body.saturating_sub(around)),
            },
        )?;
        Ok((serde_json::to_value(&envelope)?, envelope.body.to_vec()))
    }

    /// Fills the outbox of an idle publisher and waits until it is empty. Returns messages per
    /// second, from the commit to the deletion of the last row.
    pub(crate) async fn relay(&self, messages: i64, body: usize) -> anyhow::Result<f64> {
        let before = self.queued().await?;
        let publisher = self.start(Role::Publisher)?;
        self.wait_for_leader().await;
        self.fill_outbox(messages, body).await?;
        let started = Instant::now();
        sqlx::query("select pg_notify('event_bus_relay.publisher', '')")
            .execute(&self.publisher)
            .await?;
        let last = "select coalesce(max(position), 0) from outbox";
        let last: i64 = sqlx::query_scalar(last).fetch_one(&self.publisher).await?;
        // A query for the first row would scan all deleted ones.
        let is_gone = "select not exists (select from outbox where position = $1)";
        until_true(&self.publisher, is_gone, last).await?;
        let is_empty = "select not exists (select from outbox where position <= $1)";
        until_true(&self.publisher, is_empty, last).await?;
        let took = started.elapsed();
        publisher.stop().await?;
        let relayed = self.queued().await? - before;
        ensure!(
            relayed == messages,
            "{relayed} of {messages} messages are in the queue"
        );
        Ok(messages as f64 / took.as_secs_f64())
    }

    /// Starts a consumer and waits until it has handled the messages in the queue. Returns messages
    /// per second, from the first message until the effect of the last one is committed.
    pub(crate) async fn consume(&self, role: Role, messages: i64) -> anyhow::Result<f64> {
        let handled = "select count(*) from effects";
        let before: i64 = sqlx::query_scalar(handled)
            .fetch_one(&self.consumer)
            .await?;
        let reached = "select coalesce((select last_value from pg_sequences
                                        where schemaname = 'consumer'
                                          and sequencename = 'effects_number_seq'), 0) >= $1";
        let consumer = self.start(role)?;
        until_true(&self.consumer, reached, before + 1).await?;
        let started = Instant::now();
        until_true(&self.consumer, reached, before + messages).await?;
        let committed = "select count(*) >= $1 from effects";
        until_true(&self.consumer, committed, before + messages).await?;
        let took = started.elapsed();
        consumer.stop().await?;
        let after: i64 = sqlx::query_scalar(handled)
            .fetch_one(&self.consumer)
            .await?;
        ensure!(
            after - before == messages,
            "{} of {messages} messages have an effect",
            after - before
        );
        Ok(messages as f64 / took.as_secs_f64())
    }

    /// Consumes the messages in the queue with a bare client, which discards them. Returns messages
    /// per second.
    pub(crate) async fn take_bare(&self, messages: i64) -> anyhow::Result<f64> {
        let messages = usize::try_from(messages)?;
        limits::bare_consumer(&self.broker.url(), QUEUE, messages).await
    }

    /// Number of messages in the consumer's queue, as the broker reports it.
    async fn queued(&self) -> anyhow::Result<i64> {
        let connection =
            Connection::connect(&self.broker.url(), ConnectionProperties::default()).await?;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let channel = connection.create_channel().await?;
        let queue = channel
            .queue_declare(QUEUE.into(), passive, FieldTable::default())
            .await?;
        connection.close(200, "counted".into()).await?;
        Ok(queue.message_count().into())
    }

    async fn wait_for_leader(&self) {
        eventually("the publisher has become the leader", BOUND, async || {
            let listening = "select exists (select from pg_stat_activity
                                            where datname = current_database()
                                              and usename = 'publisher'
                                              and query ilike 'listen %')";
            let listening: bool = sqlx::query_scalar(listening)
                .fetch_one(&self.publisher)
                .await
                .ok()?;
            listening.then_some(())
        })
        .await;
    }
}

/// A participant's process.
struct Participant(Child);

impl Participant {
    async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.0.id().context("the participant has already exited")?;
        Command::new("kill").arg(id.to_string()).status().await?;
        let ended = self.0.wait().await?;
        ensure!(ended.success(), "a participant exited with {ended}");
        Ok(())
    }
}

/// Repeats a query every few milliseconds until it returns true.
async fn until_true(pool: &PgPool, query: &'static str, number: i64) -> anyhow::Result<()> {
    let polling = async {
        loop {
            let is_true = sqlx::query_scalar(query).bind(number);
            if is_true.fetch_one(pool).await? {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(BOUND, polling)
        .await
        .with_context(|| format!("timed out waiting for: {query}"))?
}
