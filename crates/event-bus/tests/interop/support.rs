//! A shop whose neighbours know AMQP and CloudEvents, and nothing of this crate.

use std::time::Duration;

use event_bus::{
    EntityEto, Event, EventBus, EventBusBuilder, Handler, HandlerError, Message, RabbitMq,
    Received, UnitOfWork,
};
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use test_servers::{TestBroker, TestDatabase};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Somebody ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: Uuid,
    pub(crate) quantity: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remark: Option<String>,
}

impl Message for OrderPlaced {
    type Kind = Event;
    const NAME: &'static str = "shop.order.placed";
    const VERSION: u32 = 2;

    event_bus::json_schema!();

    fn partition_key(&self) -> Option<String> {
        Some(self.order_id.to_string())
    }
}

/// What comes of an order.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StockReserved {
    pub(crate) quantity: u32,
}

impl Message for StockReserved {
    type Kind = Event;
    const NAME: &'static str = "stock.reserved";

    event_bus::json_schema!();
}

/// Something the shop sells.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Article {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
}

impl EntityEto for Article {
    const CREATED: &'static str = "shop.article.created";
    const UPDATED: &'static str = "shop.article.updated";
    const DELETED: &'static str = "shop.article.deleted";
    const SNAPSHOT: &'static str = "shop.article.snapshot";

    event_bus::json_schema!();

    fn entity_id(&self) -> Uuid {
        self.id
    }

    fn entity_version(&self) -> i64 {
        self.version
    }
}

pub(crate) fn order(quantity: u32) -> OrderPlaced {
    OrderPlaced {
        order_id: Uuid::now_v7(),
        quantity,
        remark: Some("grüße, and \"quotes\"".to_owned()),
    }
}

/// A virtual host, and a database for the participants.
pub(crate) struct Ground {
    pub(crate) broker: TestBroker,
    database: TestDatabase,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create(&["shop", "stock"]).await;
        for schema in ["shop", "stock"] {
            let pool = database.pool(schema).await;
            event_bus::migrate(&pool).await.expect("the bus's tables");
        }
        Self {
            broker: TestBroker::create().await,
            database,
        }
    }

    pub(crate) async fn pool(&self, service: &str) -> PgPool {
        self.database.pool(service).await
    }

    pub(crate) async fn participant(&self, service: &str) -> EventBusBuilder {
        let rabbitmq = RabbitMq::new(&self.broker.url()).expect("a broker's address");
        EventBus::builder(service, self.pool(service).await, rabbitmq)
    }

    /// Starts `stock`, which handles orders, and waits until it is bound for them. What it has
    /// handled comes out of the receiver.
    pub(crate) async fn listening_stock(&self) -> (Running, Heard) {
        let (sender, heard) = mpsc::unbounded_channel();
        let stock = self.participant("stock").await;
        let stock = Running::start(stock.handle::<OrderPlaced, _>(ReserveStock(sender))).await;
        test_servers::eventually("stock is bound for orders", BOUND, async || {
            let bindings = self.broker.bindings("stock").await;
            let bound = bindings.iter().any(|b| b.routing_key == OrderPlaced::NAME);
            bound.then_some(())
        })
        .await;
        (stock, Heard(heard))
    }

    /// Waits for the dead letters of `stock`: their reasons.
    pub(crate) async fn dead_letters(&self, count: usize) -> Vec<String> {
        let pool = self.pool("stock").await;
        test_servers::eventually("the dead letters are there", BOUND, async || {
            let letters: Vec<String> = sqlx::query_scalar(
                "select reason || ': ' || array_to_string(reasons, '; ') from dead_letters order by id",
            )
            .fetch_all(&pool)
            .await
            .ok()?;
            (letters.len() == count).then_some(letters)
        })
        .await
    }
}

/// Passes on what it hears, and publishes.
struct ReserveStock(mpsc::UnboundedSender<Received<OrderPlaced>>);

impl Handler<OrderPlaced> for ReserveStock {
    async fn handle(
        &self,
        order: Received<OrderPlaced>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        work.publish(&StockReserved {
            quantity: order.quantity,
        })?;
        // A test that has heard enough has gone.
        let _ = self.0.send(order);
        Ok(())
    }
}

/// What was handled.
pub(crate) struct Heard(mpsc::UnboundedReceiver<Received<OrderPlaced>>);

impl Heard {
    pub(crate) async fn next(&mut self) -> Received<OrderPlaced> {
        tokio::time::timeout(BOUND, self.0.recv())
            .await
            .expect("an order is handled")
            .expect("stock runs")
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

    pub(crate) async fn publish<M: Message<Kind = Event>>(&self, event: &M) {
        let mut work = self.bus.begin().await.expect("a unit of work");
        work.publish(event).expect("it is JSON");
        work.commit().await.expect("it is committed");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// An AMQP client that knows the names of the exchange and of messages.
pub(crate) struct Client {
    _connection: Connection,
    channel: Channel,
}

impl Client {
    pub(crate) async fn connect(ground: &Ground) -> Self {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&ground.broker.url(), properties)
            .await
            .expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        Self {
            _connection: connection,
            channel,
        }
    }

    /// Makes a queue that is bound for a name.
    pub(crate) async fn bind(&self, queue: &str, name: &str) {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        self.channel
            .exchange_declare(
                "events".into(),
                ExchangeKind::Topic,
                durable,
                FieldTable::default(),
            )
            .await
            .expect("the exchange is what it is");
        self.channel
            .queue_declare(
                queue.into(),
                QueueDeclareOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("a queue");
        let options = QueueBindOptions::default();
        self.channel
            .queue_bind(
                queue.into(),
                "events".into(),
                name.into(),
                options,
                FieldTable::default(),
            )
            .await
            .expect("a binding");
    }

    /// Consumes what is published under a name from now on.
    pub(crate) async fn tap(&self, name: &str) -> Tap {
        let queue = format!("tap.{name}");
        self.bind(&queue, name).await;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = self
            .channel
            .basic_consume(
                queue.as_str().into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await
            .expect("a consumer");
        Tap(consumer)
    }

    pub(crate) async fn publish(&self, properties: BasicProperties, body: &[u8]) {
        self.channel
            .basic_publish(
                "events".into(),
                OrderPlaced::NAME.into(),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await
            .expect("it is sent");
    }
}

/// What is published under a name.
pub(crate) struct Tap(Consumer);

impl Tap {
    pub(crate) async fn next(&mut self) -> Delivery {
        tokio::time::timeout(BOUND, self.0.next())
            .await
            .expect("a message comes")
            .expect("the channel is open")
            .expect("a delivery")
    }
}
