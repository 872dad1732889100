//! What the broker gives up on after many restarts is handled, once, unless it ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use event_bus::{
    BusSettings, ConsumerGroup, EventBusBuilder, Handler, HandlerError, Message as _, Received,
    UnitOfWork,
};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use crate::dead_letters::letters;
use crate::hostile::clients::publish_to;
use crate::support::{BOUND, Effect, Ground, Placed, Release, Running, quick};

/// Handles order 0 for as long as it is not released, and everything else at once.
#[derive(Clone, Default)]
struct Slow {
    released: Arc<AtomicBool>,
    begun: Arc<AtomicU32>,
}

impl Slow {
    fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }

    fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }
}

impl Handler<Placed> for Slow {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        if placed.order == 0 {
            self.begun.fetch_add(1, Ordering::SeqCst);
            while !self.released.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Effect::named("slow").apply(placed.order, work).await
    }

    fn name(&self) -> &'static str {
        "slow"
    }
}

/// One message at a time, and no time to end.
fn hasty() -> BusSettings {
    BusSettings {
        workers: 1,
        batch: 1,
        shutdown_grace: Duration::ZERO,
        ..quick()
    }
}

/// Publishes to the queue of what the broker has given up on.
async fn give_up(ground: &Ground, queue: &str, properties: BasicProperties, order: u32) {
    let body = format!("{{\"order\":{order}}}");
    publish_to(ground, ("", queue), properties, body.as_bytes()).await;
}

fn named(id: Uuid, name: &str) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(id.to_string().into())
        .with_type(name.into())
}

async fn expect_empty_queues(ground: &Ground) {
    test_servers::eventually("all is acknowledged", BOUND, async || {
        let queues = ground.broker().queues().await;
        queues.iter().all(|q| q.messages == 0).then_some(())
    })
    .await;
}

/// The broker counts 20 returns of each message that was sent ahead, and gives up on all of them.
/// A broker that does not count them delivers them again, with the same outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_behind_a_slow_message_make_no_dead_letters() {
    const ORDERS: u32 = 60;
    const RESTARTS: u32 = 25;
    let ground = Ground::rabbitmq().await;
    let slow = Slow::default();
    let participant = async || -> EventBusBuilder {
        let stock = ground.participant("stock").await.settings(hasty());
        stock.handle::<Placed, _>(slow.clone())
    };
    let stock = Running::start(participant().await).await;
    stock.bus.bound().await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(0..ORDERS).await;
    let pool = ground.database.pool("stock").await;
    let stored = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from inbox_retries");
        count.fetch_one(&pool).await.expect("a count")
    };
    test_servers::eventually("the slow message is begun", BOUND, async || {
        (slow.begun() > 0).then_some(())
    })
    .await;
    stock.stop().await;
    for _ in 0..RESTARTS {
        let before = slow.begun();
        let stock = Running::start(participant().await).await;
        test_servers::eventually("the slow message is begun again", BOUND, async || {
            (slow.begun() > before || stored().await > 0).then_some(())
        })
        .await;
        stock.stop().await;
        if stored().await > 0 {
            break;
        }
    }
    slow.release();
    let stock = Running::start(participant().await).await;
    let expected: Vec<_> = (0..ORDERS).map(|n| ("slow", n.into())).collect();
    ground.expect_effects("stock", &expected).await;
    expect_empty_queues(&ground).await;
    ground
        .expect_count("stock", "select count(*) from inbox_retries", 0)
        .await;
    letters(&stock, 0).await;
    ground.expect_effects("stock", &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_gives_up_on_is_handled_once_by_each_handler_that_has_not_had_it() {
    let ground = Ground::rabbitmq().await;
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(Effect::named("early"))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([0]).await;
    ground.expect_effects("stock", &[("early", 0)]).await;
    let handled: Uuid = sqlx::query_scalar("select message_id from inbox")
        .fetch_one(&ground.database.pool("stock").await)
        .await
        .expect("it has handled one message");
    stock.stop().await;

    let stock = ground
        .participant("stock")
        .await
        .handle::<Placed, _>(Effect::named("early"))
        .handle::<Placed, _>(Effect::named("late"));
    let stock = Running::start(stock).await;
    stock.bus.bound().await;
    let dead = "stock.dead";
    give_up(&ground, dead, named(handled, Placed::NAME), 0).await;
    let twice = Uuid::now_v7();
    for _ in 0..2 {
        give_up(&ground, dead, named(twice, Placed::NAME), 1).await;
    }
    let unknown = Uuid::now_v7();
    give_up(&ground, dead, named(unknown, Release::NAME), 2).await;
    give_up(&ground, dead, BasicProperties::default(), 3).await;

    let expected = [("early", 0), ("early", 1), ("late", 0), ("late", 1)];
    ground.expect_effects("stock", &expected).await;
    let letters = letters(&stock, 2).await;
    let reasons: Vec<_> = letters
        .iter()
        .map(|letter| letter.reason.as_str())
        .collect();
    assert!(reasons.contains(&"unknown_message"), "{reasons:?}");
    assert!(reasons.contains(&"malformed"), "{reasons:?}");
    expect_empty_queues(&ground).await;
    ground
        .expect_count("stock", "select count(*) from inbox_retries", 0)
        .await;
    ground.expect_effects("stock", &expected).await;
}

/// For the database, a process that ends is a transaction that is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_broker_gave_up_on_and_that_ends_the_process_is_a_dead_letter() {
    let ground = Ground::rabbitmq().await;
    let deadly = Slow::default();
    let participant = async || -> EventBusBuilder {
        let settings = BusSettings {
            workers: 2,
            ..hasty()
        };
        let stock = ground.participant("stock").await.settings(settings);
        stock.handle::<Placed, _>(deadly.clone())
    };
    let stock = Running::start(participant().await).await;
    stock.bus.bound().await;
    for order in 0..10 {
        let properties = named(Uuid::now_v7(), Placed::NAME);
        give_up(&ground, "stock.dead", properties, order).await;
    }
    let mut stock = stock;
    for begun in 1..=3 {
        test_servers::eventually("the attempt is begun", BOUND, async || {
            (deadly.begun() == begun).then_some(())
        })
        .await;
        stock.stop().await;
        stock = Running::start(participant().await).await;
    }
    let letter = letters(&stock, 1).await.remove(0);
    assert_eq!(letter.reason.as_str(), "delivery_limit");
    assert_eq!(letter.error, "3 attempts were begun and did not end");
    assert_eq!(letter.handler.as_deref(), Some("slow"));
    let innocent: Vec<_> = (1..10).map(|n| ("slow", n)).collect();
    ground.expect_effects("stock", &innocent).await;
    assert_eq!(deadly.begun(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_gives_up_on_holds_its_key_in_an_ordered_group() {
    let ground = Ground::rabbitmq().await;
    let slow = Slow::default();
    let group = ConsumerGroup::new("in-order")
        .handle::<Placed, _>(slow.clone())
        .ordered(1);
    let stock = ground.participant("stock").await.group(group);
    let stock = Running::start(stock).await;
    stock.bus.bound().await;
    for order in 0..3 {
        let mut headers = FieldTable::default();
        let key = AMQPValue::LongString("key".into());
        headers.insert("cloudEvents_partitionkey".into(), key);
        let properties = named(Uuid::now_v7(), Placed::NAME).with_headers(headers);
        give_up(&ground, "stock.in-order.dead", properties, order).await;
    }
    let held = "select count(*) from inbox_held_messages";
    ground.expect_count("stock", held, 2).await;
    assert_eq!(ground.effects("stock").await, []);
    slow.release();
    let expected = [("slow", 0), ("slow", 1), ("slow", 2)];
    ground.expect_effects("stock", &expected).await;
    ground
        .expect_count("stock", "select count(*) from inbox_held_keys", 0)
        .await;
    letters(&stock, 0).await;
}
