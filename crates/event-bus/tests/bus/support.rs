//! A small shop to test the bus with: messages, schemas, participants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use event_bus::transport::Transport;
use event_bus::{
    BusSettings, Command, Envelope, Event, EventBus, EventBusBuilder, Handler, HandlerError,
    InMemory, Lineage, Message, RabbitMq, Received, RetryPolicy, TraceContext, UnitOfWork,
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use test_servers::{TestBroker, TestDatabase};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const BOUND: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) order: u32,
}

impl Message for Placed {
    type Kind = Event;
    const NAME: &'static str = "shop.order.placed";
    const MUST_BE_HEARD: bool = true;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reserved {
    pub(crate) order: u32,
}

impl Message for Reserved {
    type Kind = Event;
    const NAME: &'static str = "stock.reserved";
    const MUST_BE_HEARD: bool = true;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) order: u32,
}

impl Message for Release {
    type Kind = Command;
    const NAME: &'static str = "stock.release";
}

/// A database with a schema for each participant, and a transport they share.
pub(crate) struct Ground {
    pub(crate) database: TestDatabase,
    broker: Option<TestBroker>,
    memory: InMemory,
}

impl Ground {
    pub(crate) async fn in_memory() -> Self {
        Self::new(None).await
    }

    pub(crate) async fn rabbitmq() -> Self {
        Self::new(Some(TestBroker::create().await)).await
    }

    async fn new(broker: Option<TestBroker>) -> Self {
        let database = TestDatabase::create(&["shop", "stock"]).await;
        for schema in ["shop", "stock"] {
            let pool = database.pool(schema).await;
            event_bus::migrate(&pool).await.expect("the bus's tables");
            sqlx::query("create table effects (handler text not null, number bigint not null)")
                .execute(&pool)
                .await
                .expect("a table for effects");
        }
        Self {
            database,
            broker,
            memory: InMemory::new(),
        }
    }

    pub(crate) fn broker(&self) -> &TestBroker {
        self.broker.as_ref().expect("a test on RabbitMQ")
    }

    pub(crate) fn broker_if_any(&self) -> Option<&TestBroker> {
        self.broker.as_ref()
    }

    /// A bus to be given handlers. Its retries are quick.
    pub(crate) async fn participant(&self, service: &str) -> EventBusBuilder {
        let pool = self.database.pool(service).await;
        self.participant_on(service, pool)
    }

    /// A bus on a pool of its own.
    pub(crate) fn participant_on(&self, service: &str, pool: PgPool) -> EventBusBuilder {
        let builder = match &self.broker {
            Some(broker) => {
                let rabbitmq = RabbitMq::new(&broker.url()).expect("a broker's address");
                EventBus::builder(service, pool, rabbitmq)
            }
            None => EventBus::builder(service, pool, self.memory.clone()),
        };
        builder.settings(quick())
    }

    /// Takes the relay's lock, and leads without publishing until it is dropped.
    pub(crate) async fn lead_without_publishing(&self, service: &str) -> PgConnection {
        let connection = PgConnection::connect(&self.database.url(service)).await;
        let mut connection = connection.expect("a database");
        let key = "hashtextextended('event_bus_relay.' || current_schema(), 0)";
        let lock = format!("select pg_advisory_lock({key})");
        let locked = sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut connection);
        locked.await.expect("a lock");
        connection
    }

    /// Hands an envelope to the transport as it is.
    pub(crate) async fn inject(&self, envelope: Envelope) {
        let publish = async |transport: &dyn Transport| {
            transport.publish(vec![envelope.clone()]).await.await;
        };
        match &self.broker {
            Some(broker) => {
                let transport = RabbitMq::new(&broker.url()).expect("a broker's address");
                publish(&transport).await;
                transport.close().await;
            }
            None => publish(&self.memory).await,
        }
    }

    pub(crate) async fn effects(&self, service: &str) -> Vec<(String, i64)> {
        let pool = self.database.pool(service).await;
        sqlx::query_as("select handler, number from effects order by handler, number")
            .fetch_all(&pool)
            .await
            .expect("effects")
    }

    /// Waits until exactly these effects are there, in any order.
    pub(crate) async fn expect_effects(&self, service: &str, expected: &[(&str, i64)]) {
        let mut expected: Vec<_> = expected
            .iter()
            .map(|(handler, number)| ((*handler).to_owned(), *number))
            .collect();
        expected.sort();
        test_servers::eventually("the effects are there", BOUND, async || {
            let effects = self.effects(service).await;
            assert!(
                effects.len() <= expected.len(),
                "too many effects: {effects:?}"
            );
            (effects == expected).then_some(())
        })
        .await;
    }

    /// Waits until a query gives this number.
    pub(crate) async fn expect_count(&self, service: &str, query: &'static str, expected: i64) {
        let pool = self.database.pool(service).await;
        test_servers::eventually(query, BOUND, async || {
            let count: i64 = sqlx::query_scalar(query).fetch_one(&pool).await.ok()?;
            (count == expected).then_some(())
        })
        .await;
    }
}

/// An order's event as an envelope, to be injected.
pub(crate) fn placed(order: u32) -> Envelope {
    let lineage = Lineage {
        correlation_id: Uuid::now_v7(),
        causation_id: None,
        trace: TraceContext::default(),
    };
    Envelope::encode("shop", lineage, &Placed { order }).expect("it is JSON")
}

pub(crate) fn quick() -> BusSettings {
    BusSettings {
        retry: RetryPolicy {
            immediate: 1,
            delayed: 2,
            first_delay: Duration::from_millis(20),
            max_delay: Duration::from_millis(50),
            ..RetryPolicy::default()
        },
        ..BusSettings::default()
    }
}

/// A running bus that is stopped when the test ends.
pub(crate) struct Running {
    pub(crate) bus: EventBus,
    shutdown: CancellationToken,
}

impl Running {
    pub(crate) async fn start(builder: EventBusBuilder) -> Self {
        let shutdown = CancellationToken::new();
        let bus = builder.start(shutdown.clone()).await.expect("it starts");
        Self { bus, shutdown }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(BOUND, self.bus.stopped())
            .await
            .expect("it stops in time");
    }

    pub(crate) async fn place(&self, orders: impl IntoIterator<Item = u32>) {
        let mut work = self.bus.begin().await.expect("a unit of work");
        for order in orders {
            work.publish(&Placed { order }).expect("it is JSON");
        }
        work.commit().await.expect("it is committed");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Writes one row of effect, and fails as often as it is told to.
#[derive(Clone, Default)]
pub(crate) struct Effect {
    pub(crate) name: &'static str,
    /// The order it fails at; every other one succeeds.
    pub(crate) fails_at: Option<u32>,
    /// How often it fails there.
    pub(crate) failures: u32,
    pub(crate) rejects: bool,
    pub(crate) panics: bool,
    pub(crate) attempts: Arc<AtomicU32>,
}

impl Effect {
    pub(crate) fn named(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    pub(crate) async fn apply(
        &self,
        order: u32,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        sqlx::query("insert into effects (handler, number) values ($1, $2)")
            .bind(self.name)
            .bind(i64::from(order))
            .execute(&mut **work)
            .await?;
        if self.fails_at == Some(order) {
            let attempt = self.attempts.fetch_add(1, Ordering::SeqCst) + 1;
            if attempt <= self.failures {
                assert!(!self.panics, "told to panic");
                let error = std::io::Error::other("told to fail");
                return Err(if self.rejects {
                    HandlerError::reject(error)
                } else {
                    HandlerError::retry(error)
                });
            }
        }
        Ok(())
    }
}

impl Handler<Placed> for Effect {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.apply(placed.order, work).await?;
        work.publish(&Reserved {
            order: placed.order,
        })?;
        Ok(())
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

impl Handler<Reserved> for Effect {
    async fn handle(
        &self,
        reserved: Received<Reserved>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.apply(reserved.order, work).await
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

impl Handler<Release> for Effect {
    async fn handle(
        &self,
        release: Received<Release>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.apply(release.order, work).await
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

/// Runs a test on both transports.
///
/// With threads to spare: PostgreSQL drops no database while somebody anywhere is half through with
/// connecting, and a bus that just started is, while its ground is dropped on the test's thread.
macro_rules! on_both_transports {
    ($($name:ident,)*) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::support::Ground::in_memory().await).await;
            })*
        }

        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::support::Ground::rabbitmq().await).await;
            })*
        }
    };
}
pub(crate) use on_both_transports;
