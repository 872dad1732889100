//! Ordered groups: one key after another in its order, all keys side by side.

mod histories;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_bus::dead_letters::DeadLetterFilter;
use event_bus::{
    BusSettings, ConsumerGroup, Event, EventBus, Handler, HandlerError, Message, Received,
    RetryPolicy, UnitOfWork,
};
use serde::{Deserialize, Serialize};

use crate::support::{BOUND, Ground, Running, on_both_transports, quick};

/// A step of something that has a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Moved {
    key: String,
    step: i64,
}

impl Message for Moved {
    type Kind = Event;
    const NAME: &'static str = "shop.thing.moved";

    fn partition_key(&self) -> Option<String> {
        Some(self.key.clone())
    }
}

/// Notes each step in a table, and fails at some as often as it is told to.
#[derive(Clone, Default)]
struct Follow {
    failures: Arc<Mutex<HashMap<(String, i64), u32>>>,
    calls: Arc<AtomicUsize>,
}

impl Follow {
    /// Fails so often at this step.
    fn failing(self, key: &str, step: i64, times: u32) -> Self {
        self.failures
            .lock()
            .expect("no panic before")
            .insert((key.to_owned(), step), times);
        self
    }

    /// How often it was called so far.
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn fails(&self, moved: &Moved) -> bool {
        let mut failures = self.failures.lock().expect("no panic before");
        match failures.get_mut(&(moved.key.clone(), moved.step)) {
            Some(left @ 1..) => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

impl Handler<Moved> for Follow {
    async fn handle(
        &self,
        moved: Received<Moved>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        sqlx::query("insert into steps (key, step) values ($1, $2)")
            .bind(&moved.key)
            .bind(moved.step)
            .execute(&mut **work)
            .await?;
        if self.fails(&moved) {
            return Err(HandlerError::retry("told to fail"));
        }
        Ok(())
    }
}

/// Never gives up, and tries often.
fn patient() -> BusSettings {
    BusSettings {
        retry: RetryPolicy {
            immediate: 0,
            delayed: 1000,
            first_delay: Duration::from_millis(5),
            max_delay: Duration::from_millis(10),
            ..RetryPolicy::default()
        },
        poll_interval: Duration::from_millis(100),
        kill_switch: None,
        ..quick()
    }
}

async fn steps_table(ground: &Ground) {
    sqlx::query(
        "create table steps (position bigint generated always as identity, key text, step bigint)",
    )
    .execute(&ground.database.pool("stock").await)
    .await
    .expect("a table for steps");
}

async fn follower(ground: &Ground, follow: Follow, partitions: u16) -> Running {
    let group = ConsumerGroup::new("in-order")
        .handle::<Moved, _>(follow)
        .ordered(partitions)
        .batch(8);
    let stock = ground.participant("stock").await.settings(patient());
    let stock = Running::start(stock.group(group)).await;
    stock.bus.bound().await;
    stock
}

async fn publish(bus: &EventBus, moves: impl IntoIterator<Item = (String, i64)>) {
    let mut work = bus.begin().await.expect("a unit of work");
    for (key, step) in moves {
        work.publish(&Moved { key, step }).expect("it is JSON");
    }
    work.commit().await.expect("it is committed");
}

/// The steps in the order of their effects, of each key.
async fn followed(ground: &Ground) -> BTreeMap<String, Vec<i64>> {
    let steps: Vec<(String, i64)> = sqlx::query_as("select key, step from steps order by position")
        .fetch_all(&ground.database.pool("stock").await)
        .await
        .expect("steps");
    let mut followed: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (key, step) in steps {
        followed.entry(key).or_default().push(step);
    }
    followed
}

async fn expect_followed(ground: &Ground, expected: &BTreeMap<String, Vec<i64>>) {
    let all: usize = expected.values().map(Vec::len).sum();
    let pool = ground.database.pool("stock").await;
    let arrived = test_servers::eventually("all steps are followed", BOUND, async || {
        let count: i64 = sqlx::query_scalar("select count(*) from steps")
            .fetch_one(&pool)
            .await
            .ok()?;
        (count >= i64::try_from(all).ok()?).then_some(())
    });
    arrived.await;
    assert_eq!(&followed(ground).await, expected);
}

fn steps(key: &str, steps: std::ops::RangeInclusive<i64>) -> (String, Vec<i64>) {
    (key.to_owned(), steps.collect())
}

async fn a_message_that_fails_holds_back_its_own_key_alone(ground: &Ground) {
    steps_table(ground).await;
    let follow = Follow::default().failing("stuck", 3, u32::MAX);
    let _stock = follower(ground, follow.clone(), 2).await;
    let shop = Running::start(ground.participant("shop").await).await;
    let both = |step| [("stuck".to_owned(), step), ("free".to_owned(), step)];
    publish(&shop.bus, (1..=20).flat_map(both)).await;
    let expected = BTreeMap::from([steps("free", 1..=20), steps("stuck", 1..=2)]);
    expect_followed(ground, &expected).await;
    ground
        .expect_count("stock", "select count(*) from inbox_held_messages", 17)
        .await;
    // What arrives while the key is held gets in line as well.
    publish(&shop.bus, both(21)).await;
    ground
        .expect_count("stock", "select count(*) from inbox_held_messages", 18)
        .await;
    follow.failures.lock().expect("no panic before").clear();
    let expected = BTreeMap::from([steps("free", 1..=21), steps("stuck", 1..=21)]);
    expect_followed(ground, &expected).await;
    ground
        .expect_count("stock", "select count(*) from inbox_held_keys", 0)
        .await;
    publish(&shop.bus, both(22)).await;
    let expected = BTreeMap::from([steps("free", 1..=22), steps("stuck", 1..=22)]);
    expect_followed(ground, &expected).await;
}

/// A dead letter holds back its key until somebody decides about it.
async fn a_key_goes_on_when_its_dead_letter_is_replayed_or_discarded(ground: &Ground) {
    steps_table(ground).await;
    let follow = Follow::default()
        .failing("mended", 2, u32::MAX)
        .failing("given up", 2, u32::MAX);
    let group = ConsumerGroup::new("in-order")
        .handle::<Moved, _>(follow.clone())
        .ordered(2)
        .retry(RetryPolicy {
            immediate: 0,
            delayed: 0,
            ..RetryPolicy::default()
        });
    let stock = ground.participant("stock").await.settings(patient());
    let stock = Running::start(stock.group(group)).await;
    stock.bus.bound().await;
    let shop = Running::start(ground.participant("shop").await).await;
    let both = |step| [("mended".to_owned(), step), ("given up".to_owned(), step)];
    publish(&shop.bus, (1..=10).flat_map(both)).await;
    ground
        .expect_count("stock", "select count(*) from inbox_held_messages", 16)
        .await;
    let letters = stock.bus.dead_letters();
    let dead = letters.list(&DeadLetterFilter::default(), None, 10).await;
    let dead = dead.expect("the letters");
    assert_eq!(dead.len(), 2);
    follow.failures.lock().expect("no panic before").clear();
    for letter in dead {
        let details = letters.show(letter.id).await.expect("the letter");
        let envelope = details.and_then(|letter| letter.envelope);
        if envelope.and_then(|e| e.partition_key).as_deref() == Some("mended") {
            letters.replay(letter.id).await.expect("it is replayed");
        } else {
            letters.discard(letter.id).await.expect("it is discarded");
        }
    }
    let given_up = (
        "given up".to_owned(),
        [1].into_iter().chain(3..=10).collect(),
    );
    let expected = BTreeMap::from([given_up, steps("mended", 1..=10)]);
    expect_followed(ground, &expected).await;
    ground
        .expect_count("stock", "select count(*) from inbox_held_keys", 0)
        .await;
}

/// Publishers go on while each of three replicas is stopped and started anew, twice.
async fn rolling_restarts_of_three_replicas_keep_the_order(ground: &Ground) {
    const KEYS: i64 = 12;
    const ROUNDS: i64 = 120;
    steps_table(ground).await;
    let mut follow = Follow::default();
    for key in 0..KEYS {
        follow = follow.failing(&format!("key-{key}"), 7 * (key + 1), 2);
    }
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(follower(ground, follow.clone(), 6).await);
    }
    let shop = Running::start(ground.participant("shop").await).await;
    let publisher = shop.bus.clone();
    let publishing = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        for step in 1..=ROUNDS {
            pace.tick().await;
            let keys = (0..KEYS).map(|key| (format!("key-{key}"), step));
            publish(&publisher, keys).await;
        }
    });
    for round in 0..2 {
        for _ in 0..3 {
            let oldest = replicas.remove(0);
            if round == 0 {
                oldest.stop().await;
            } else if let Some(broker) = ground.broker_if_any() {
                broker.close_connections().await;
                oldest.stop().await;
            } else {
                drop(oldest);
            }
            replicas.push(follower(ground, follow.clone(), 6).await);
        }
    }
    publishing.await.expect("everything is published");
    let expected = (0..KEYS).map(|key| steps(&format!("key-{key}"), 1..=ROUNDS));
    expect_followed(ground, &expected.collect()).await;
}

/// Partitions are shared by the replicas that are there: neither has all the messages.
async fn partitions_are_spread_over_replicas(ground: &Ground) {
    steps_table(ground).await;
    let (one, other) = (Follow::default(), Follow::default());
    let _one = follower(ground, one.clone(), 4).await;
    let _other = follower(ground, other.clone(), 4).await;
    let shop = Running::start(ground.participant("shop").await).await;
    let mut rounds = 0;
    test_servers::eventually("both have messages of one round", BOUND, async || {
        let before = [one.calls(), other.calls()];
        rounds += 1;
        let keys = (0..40).map(|key| (format!("key-{key}"), rounds));
        publish(&shop.bus, keys).await;
        let expected = (0..40).map(|key| steps(&format!("key-{key}"), 1..=rounds));
        expect_followed(ground, &expected.collect()).await;
        (one.calls() > before[0] && other.calls() > before[1]).then_some(())
    })
    .await;
}

on_both_transports! {
    a_message_that_fails_holds_back_its_own_key_alone,
    a_key_goes_on_when_its_dead_letter_is_replayed_or_discarded,
    partitions_are_spread_over_replicas,
    rolling_restarts_of_three_replicas_keep_the_order,
}
