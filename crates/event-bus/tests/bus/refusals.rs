//! A message that the broker refuses blocks no other message, and is never lost.

use event_bus::testing::TestTransport;
use event_bus::transport::{Refusal, RefusalScope};
use event_bus::{
    Envelope, Event, EventBus, Handler, HandlerError, Message, PublishError, RabbitMq, Received,
    TraceContext, UnitOfWork,
};
use jiff::Timestamp;
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use test_servers::{FaultProxy, TestBroker};

use crate::support::{BOUND, Effect, Ground, Placed, Running, quick};

const REFUSED: &str = "select count(*) from outbox_refused";
/// See [`note_what_is_set_aside`].
const SET_ASIDE: &str = "select count(*) from set_aside";
const IN_OUTBOX: &str = "select count(*) from outbox";

/// An event of another name than `Placed`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Keyed(String);

impl Message for Keyed {
    type Kind = Event;
    const NAME: &'static str = "shop.keyed";
    const MUST_BE_HEARD: bool = true;

    fn partition_key(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

impl Handler<Keyed> for Effect {
    async fn handle(
        &self,
        keyed: Received<Keyed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.apply(keyed.0.parse().unwrap_or_default(), work).await
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

/// A service that handles orders and events of another name.
async fn start_stock(ground: &Ground) -> Running {
    let stock = ground.participant("stock").await;
    let stock = stock
        .handle::<Placed, _>(Effect::named("placed"))
        .handle::<Keyed, _>(Effect::named("keyed"));
    let stock = Running::start(stock).await;
    stock.bus.bound().await;
    stock
}

async fn publish_other(bus: &EventBus, number: u32) {
    let mut work = bus.begin().await.expect("a unit of work");
    work.publish(&Keyed(number.to_string()))
        .expect("it is JSON");
    work.commit().await.expect("it is committed");
}

async fn number(ground: &Ground, query: &'static str) -> i64 {
    let pool = ground.database.pool("shop").await;
    let number = sqlx::query_scalar(query).fetch_one(&pool).await;
    number.expect("a number")
}

/// Notes each message that is set aside from now on, also when it goes a moment later.
async fn note_what_is_set_aside(ground: &Ground) {
    let note = "create table set_aside (name text);
                create function note_name() returns trigger language plpgsql as $$
                    begin
                        insert into set_aside values (new.name);
                        return null;
                    end $$;
                create trigger note_name after insert on outbox_refused
                    for each row execute function note_name()";
    let pool = ground.database.pool("shop").await;
    sqlx::raw_sql(note)
        .execute(&pool)
        .await
        .expect("it is valid");
}

/// What health says of the messages with this name.
fn problem_of(bus: &EventBus, name: &str) -> Option<String> {
    let subject = format!("message {name}");
    let mut problems = bus.health().problems.into_iter();
    let problem = problems.find(|problem| problem.subject == subject);
    problem.map(|problem| problem.reason)
}

async fn no_problem_is_left(bus: &EventBus) {
    test_servers::eventually("no problem is left", BOUND, async || {
        bus.health().problems.is_empty().then_some(())
    })
    .await;
}

fn refusal(error: &'static str, scope: RefusalScope) -> Refusal {
    Refusal {
        error: error.into(),
        reason: format!("test: {error}"),
        scope,
    }
}

/// A shop and a stock on a transport that refuses what the test says.
struct Refusing {
    ground: Ground,
    transport: TestTransport,
    shop: Running,
    _stock: Running,
}

impl Refusing {
    async fn start() -> Self {
        let ground = Ground::in_memory().await;
        let transport = TestTransport::in_memory();
        let pool = ground.database.pool("stock").await;
        let stock = EventBus::builder("stock", pool, transport.participant()).settings(quick());
        let stock = stock
            .handle::<Placed, _>(Effect::named("placed"))
            .handle::<Keyed, _>(Effect::named("keyed"));
        let stock = Running::start(stock).await;
        stock.bus.bound().await;
        let pool = ground.database.pool("shop").await;
        let shop = EventBus::builder("shop", pool, transport.clone()).settings(quick());
        Self {
            shop: Running::start(shop).await,
            ground,
            transport,
            _stock: stock,
        }
    }
}

fn order_of(message: &Envelope) -> Option<u32> {
    let placed: Option<Placed> = serde_json::from_slice(&message.body).ok();
    placed.map(|placed| placed.order)
}

/// As with a body above the broker's limit: it closes the channel, and all that is in flight fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_closes_the_channel_is_set_aside_and_the_others_go() {
    let scene = Refusing::start().await;
    let too_large = refusal("precondition_failed", RefusalScope::Message);
    scene.transport.refuse(too_large, |message| {
        matches!(order_of(message), Some(3 | 90 | 91))
    });
    scene.shop.place(1..=100).await;
    let mut expected: Vec<_> = (1..=100).map(|n| ("placed", n)).collect();
    expected.retain(|(_, n)| ![3, 90, 91].contains(n));
    scene.ground.expect_effects("stock", &expected).await;
    scene.ground.expect_count("shop", IN_OUTBOX, 0).await;
    scene.ground.expect_count("shop", REFUSED, 3).await;
    let named = "select count(*) from outbox_refused
                 where name = 'shop.order.placed' and error = 'precondition_failed'
                   and reason = 'test: precondition_failed' and refusals > 0 and message_id <> ''";
    scene.ground.expect_count("shop", named, 3).await;
    let problem = problem_of(&scene.shop.bus, Placed::NAME).expect("it is listed");
    assert!(problem.contains("test: precondition_failed"), "{problem}");

    // It is retried with growing pauses, and goes when the broker takes it.
    let again = "select count(*) from outbox_refused where refusals >= 2";
    scene.ground.expect_count("shop", again, 3).await;
    scene.transport.accept();
    expected.extend([("placed", 3), ("placed", 90), ("placed", 91)]);
    scene.ground.expect_effects("stock", &expected).await;
    scene.ground.expect_count("shop", REFUSED, 0).await;
    no_problem_is_left(&scene.shop.bus).await;
}

/// RabbitMQ 3.10 does so on a channel whose queue has lost its leader; another channel is fine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_refused_on_one_channel_only_is_not_set_aside() {
    let scene = Refusing::start().await;
    note_what_is_set_aside(&scene.ground).await;
    let mut left = 20;
    let nacked = refusal("nacked", RefusalScope::Destination);
    scene.transport.refuse(nacked, move |_| {
        let is_refused = left > 0;
        left -= i32::from(is_refused);
        is_refused
    });
    scene.shop.place(1..=20).await;
    let expected: Vec<_> = (1..=20).map(|n| ("placed", n)).collect();
    scene.ground.expect_effects("stock", &expected).await;
    scene.ground.expect_count("shop", IN_OUTBOX, 0).await;
    assert_eq!(number(&scene.ground, SET_ASIDE).await, 0);
    no_problem_is_left(&scene.shop.bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_takes_over_what_is_refused() {
    let scene = Refusing::start().await;
    let nacked = refusal("nacked", RefusalScope::Destination);
    scene.transport.refuse(nacked, |m| m.name == Placed::NAME);
    scene.shop.place(1..=50).await;
    scene.ground.expect_count("shop", REFUSED, 50).await;
    let other = EventBus::builder(
        "shop",
        scene.ground.database.pool("shop").await,
        scene.transport.participant(),
    );
    let other = Running::start(other.settings(quick())).await;
    scene.shop.stop().await;
    test_servers::eventually("the other one knows", BOUND, async || {
        problem_of(&other.bus, Placed::NAME)
    })
    .await;
    publish_other(&other.bus, 1).await;
    scene.ground.expect_effects("stock", &[("keyed", 1)]).await;
    scene.transport.accept();
    let mut expected: Vec<_> = (1..=50).map(|n| ("placed", n)).collect();
    expected.push(("keyed", 1));
    scene.ground.expect_effects("stock", &expected).await;
    no_problem_is_left(&other.bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_is_set_aside_and_the_others_go() {
    let ground = Ground::in_memory().await;
    let _stock = start_stock(&ground).await;
    let pool = ground.database.pool("shop").await;
    sqlx::raw_sql(
        r#"insert into outbox (attributes, body) values
           ('{"id": 7, "type": "shop.order.placed"}', ''), ('[]', ''), ('null', '\x00')"#,
    )
    .execute(&pool)
    .await
    .expect("they are JSON");
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    ground.expect_effects("stock", &[("placed", 1)]).await;
    ground.expect_count("shop", IN_OUTBOX, 0).await;
    let unreadable = "select count(*) from outbox_refused where error = 'unreadable'";
    ground.expect_count("shop", unreadable, 3).await;
    let problem = problem_of(&shop.bus, Placed::NAME).expect("it is listed");
    assert!(problem.contains("cannot be read"), "{problem}");

    // As by a version that can read it.
    let attributes = r#"{"id": "01890a5d-ac96-774b-bcce-b302099a8057", "type": "shop.order.placed",
        "dataversion": 1, "kind": "event", "source": "shop", "time": "2026-01-01T00:00:00Z",
        "correlationid": "01890a5d-ac96-774b-bcce-b302099a8057", "mandatory": true}"#;
    let mend = "update outbox_refused set attributes = $1::jsonb, body = '{\"order\": 2}'
                where name = 'shop.order.placed'";
    let mended = sqlx::query(mend).bind(attributes).execute(&pool).await;
    assert_eq!(mended.expect("a database").rows_affected(), 1);
    ground
        .expect_effects("stock", &[("placed", 1), ("placed", 2)])
        .await;
    ground.expect_count("shop", unreadable, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_may_not_be_published_blocks_no_other_name() {
    let ground = Ground::rabbitmq().await;
    let _stock = start_stock(&ground).await;
    ground
        .broker()
        .restrict_topics("events", "^(stock|shop\\.keyed)")
        .await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=700).await;
    publish_other(&shop.bus, 1).await;
    ground.expect_effects("stock", &[("keyed", 1)]).await;
    ground.expect_count("shop", REFUSED, 700).await;
    let tried = "select count(*) from outbox_refused
                 where error = 'access_refused' and reason like '%ACCESS_REFUSED%'";
    ground.expect_count("shop", tried, 700).await;
    let problem = problem_of(&shop.bus, Placed::NAME).expect("it is listed");
    assert!(problem.contains("ACCESS_REFUSED"), "{problem}");

    ground.broker().restrict_topics("events", ".*").await;
    let mut expected: Vec<_> = (1..=700).map(|n| ("placed", n)).collect();
    expected.push(("keyed", 1));
    ground.expect_effects("stock", &expected).await;
    no_problem_is_left(&shop.bus).await;
}

/// Queues that another program has declared.
struct Queues {
    channel: Channel,
    _connection: Connection,
}

impl Queues {
    async fn of(broker: &TestBroker) -> Self {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&broker.url(), properties).await;
        let connection = connection.expect("a broker");
        Self {
            channel: connection.create_channel().await.expect("a channel"),
            _connection: connection,
        }
    }

    /// Declares a queue that is bound for placed orders.
    async fn declare(&self, queue: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        let durable = QueueDeclareOptions::durable();
        let declared = self.channel.queue_declare(queue.into(), durable, table);
        declared.await.expect("a queue");
        let bound = self.channel.queue_bind(
            queue.into(),
            "events".into(),
            Placed::NAME.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.expect("a binding");
    }

    async fn messages(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let table = FieldTable::default();
        let declared = self.channel.queue_declare(queue.into(), passive, table);
        declared.await.expect("it exists").message_count()
    }

    async fn remove_limit(&self, queue: &str) {
        let unbound = self.channel.queue_unbind(
            queue.into(),
            "events".into(),
            Placed::NAME.into(),
            FieldTable::default(),
        );
        unbound.await.expect("it is unbound");
        let purge = QueuePurgeOptions::default();
        self.channel
            .queue_purge(queue.into(), purge)
            .await
            .expect("it is emptied");
    }
}

/// Each refused message reaches the queues that have room, so publishing it again and again would
/// flood them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_slows_its_own_messages_and_floods_no_other_queue() {
    const ORDERS: u32 = 3000;
    let ground = Ground::rabbitmq().await;
    let _stock = start_stock(&ground).await;
    let queues = Queues::of(ground.broker()).await;
    queues.declare("copies", &[]).await;
    let one = AMQPValue::LongLongInt(1);
    let reject = AMQPValue::LongString("reject-publish".into());
    queues
        .declare("full", &[("x-max-length", one), ("x-overflow", reject)])
        .await;
    let shop = Running::start(ground.participant("shop").await).await;
    for first in (1..=ORDERS).step_by(500) {
        shop.place(first..first + 500).await;
    }
    // Once the first refusal is known, what follows is stored without being published.
    ground.expect_count("shop", IN_OUTBOX, 0).await;
    let problem = problem_of(&shop.bus, Placed::NAME).expect("it is listed");
    assert!(problem.contains("basic.nack"), "{problem}");

    let tries = "select sum(refusals) from outbox_refused";
    let (tries_before, copies_before) = (
        number(&ground, tries).await,
        queues.messages("copies").await,
    );
    // At once, although 3,000 messages wait: the pause before the next probe is longer.
    publish_other(&shop.bus, 1).await;
    let other = "select count(*) from effects where handler = 'keyed'";
    ground.expect_count("stock", other, 1).await;
    let probed = async || (number(&ground, tries).await >= tries_before + 2).then_some(());
    test_servers::eventually("two probes were refused", BOUND, probed).await;
    let copies = queues.messages("copies").await - copies_before;
    assert!(
        copies <= 4,
        "{copies} copies by two probes and perhaps a third"
    );

    queues.remove_limit("full").await;
    let all = "select count(*) from effects where handler = 'placed'";
    ground.expect_count("stock", all, i64::from(ORDERS)).await;
    ground.expect_count("shop", REFUSED, 0).await;
    no_problem_is_left(&shop.bus).await;
    shop.place([ORDERS + 1]).await;
    ground
        .expect_count("stock", all, i64::from(ORDERS) + 1)
        .await;
}

/// A failed connection says nothing about a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_unavailable_sets_no_message_aside() {
    const ORDERS: u32 = 2000;
    let ground = Ground::rabbitmq().await;
    let _stock = start_stock(&ground).await;
    note_what_is_set_aside(&ground).await;
    let proxy = FaultProxy::before(&ground.broker().url()).await;
    let pool = ground.database.pool("shop").await;
    let shop = RabbitMq::new(proxy.url()).expect("a broker's address");
    let shop = EventBus::builder("shop", pool, shop).settings(quick());
    let shop = Running::start(shop).await;
    let effects = ground.database.pool("stock").await;
    for first in (1..=ORDERS).step_by(500) {
        shop.place(first..first + 400).await;
        // In the middle of them.
        let some = "select (count(*) > 0)::int::bigint from effects where number >= $1";
        test_servers::eventually("some have arrived", BOUND, async || {
            let arrived = sqlx::query_scalar(some).bind(i64::from(first));
            let arrived: i64 = arrived.fetch_one(&effects).await.ok()?;
            (arrived > 0).then_some(())
        })
        .await;
        proxy.cut().await;
        shop.place(first + 400..first + 500).await;
        proxy.restore().await;
    }
    let expected: Vec<_> = (1..=i64::from(ORDERS)).map(|n| ("placed", n)).collect();
    ground.expect_effects("stock", &expected).await;
    assert_eq!(number(&ground, SET_ASIDE).await, 0);
    no_problem_is_left(&shop.bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_stored_is_refused_where_it_is_published() {
    let ground = Ground::in_memory().await;
    let _stock = start_stock(&ground).await;
    let shop = Running::start(ground.participant("shop").await).await;
    let mut work = shop.bus.begin().await.expect("a unit of work");
    let key = Keyed("a\0b".to_owned());
    for refused in [
        work.publish(&key),
        work.schedule(&key, Timestamp::now()).map(|_| ()),
    ] {
        let error = refused.expect_err("PostgreSQL has no such character");
        assert!(
            matches!(error, PublishError::NulInKey { name: "shop.keyed" }),
            "{error}"
        );
    }
    // Any other character can be stored; and what another program wrote into the trace context must
    // not keep a message from being published.
    for key in ["\u{1}", "\u{fffe}", "\u{10ffff}", "\\u0000", "'\"{}", ""] {
        work.publish(&Keyed(key.to_owned()))
            .expect("it can be stored");
    }
    let mut lineage = event_bus::Lineage {
        correlation_id: uuid::Uuid::now_v7(),
        causation_id: None,
        trace: TraceContext::default(),
    };
    lineage.trace.traceparent = Some("00-\0".to_owned());
    lineage.trace.tracestate = Some("x".repeat(1024 * 1024));
    work.inherit(lineage);
    work.publish(&Placed { order: 1 })
        .expect("it can be stored");
    work.commit().await.expect("all of it can be stored");
    let placed = "select count(*) from effects where handler = 'placed'";
    ground.expect_count("stock", placed, 1).await;
    ground.expect_count("shop", IN_OUTBOX, 0).await;
}
