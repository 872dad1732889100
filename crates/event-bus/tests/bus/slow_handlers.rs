//! A message that is delivered again while its handler still runs delays nothing else.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is not dropped while it begins a transaction"
)]

use std::sync::{Arc, Mutex};

use event_bus::dead_letters::{BulkMode, NotReplayable, ReplayOutcome};
use event_bus::{
    BusSettings, ConsumerGroup, Envelope, Handler, HandlerError, Received, UnitOfWork,
};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::sync::Semaphore;

use crate::dead_letters::{ALL, letters};
use crate::support::{
    BOUND, Effect, Ground, Placed, Release, Running, on_both_transports, placed, quick,
};

/// Does not end order 0 before the gate is opened.
#[derive(Clone)]
struct Gated {
    begun: Arc<Semaphore>,
    open: Arc<Semaphore>,
    /// The orders as they were handled.
    order: Arc<Mutex<Vec<u32>>>,
}

impl Gated {
    fn new() -> Self {
        let closed = || Arc::new(Semaphore::new(0));
        Self {
            begun: closed(),
            open: closed(),
            order: Arc::default(),
        }
    }
}

impl Handler<Placed> for Gated {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        if placed.order == 0 {
            self.begun.add_permits(1);
            let _open = self.open.acquire().await?;
        }
        self.order
            .lock()
            .expect("no panic before")
            .push(placed.order);
        Effect::named("gated").apply(placed.order, work).await
    }

    fn name(&self) -> &'static str {
        "gated"
    }
}

fn one_by_one(workers: usize) -> BusSettings {
    BusSettings {
        workers,
        batch: 1,
        ..quick()
    }
}

fn effects(orders: impl IntoIterator<Item = i64>) -> Vec<(&'static str, i64)> {
    orders.into_iter().map(|order| ("gated", order)).collect()
}

/// Claims a message as another transaction does, an older version of the program's among them.
async fn claim(pool: &PgPool, message: &Envelope) -> Transaction<'static, Postgres> {
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("insert into inbox (message_id, handler) values ($1, 'gated')")
        .bind(message.id)
        .execute(&mut *transaction)
        .await
        .expect("a claim");
    transaction
}

/// The first delivery runs while others of the same message come, more than there are workers.
async fn a_second_delivery_of_a_message_that_is_being_handled_holds_no_worker(ground: &Ground) {
    let gated = Gated::new();
    let stock = ground.participant("stock").await.settings(one_by_one(2));
    let stock = Running::start(stock.handle::<Placed, _>(gated.clone())).await;
    stock.bus.bound().await;
    let slow = placed(0);
    ground.inject(slow.clone()).await;
    let begun = tokio::time::timeout(BOUND, gated.begun.acquire()).await;
    begun
        .expect("it is begun in time")
        .expect("it is open")
        .forget();
    for _ in 0..5 {
        ground.inject(slow.clone()).await;
    }
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=50).await;
    ground.expect_effects("stock", &effects(1..=50)).await;
    gated.open.add_permits(1);
    ground.expect_effects("stock", &effects(0..=50)).await;
    if let Some(broker) = ground.broker_if_any() {
        test_servers::eventually("all is acknowledged", BOUND, async || {
            let queues = broker.queues().await;
            queues.iter().all(|q| q.messages == 0).then_some(())
        })
        .await;
    }
    shop.place([51]).await;
    ground.expect_effects("stock", &effects(0..=51)).await;
    assert_eq!(gated.begun.available_permits(), 0, "it was begun again");
}

/// The claim is not committed in the end, as when its process has died.
async fn what_was_put_aside_is_handled_when_its_claim_is_free(ground: &Ground) {
    let gated = Gated::new();
    gated.open.add_permits(1);
    let stock = ground.participant("stock").await.settings(one_by_one(1));
    let stock = Running::start(stock.handle::<Placed, _>(gated.clone())).await;
    stock.bus.bound().await;
    let pool = ground.database.pool("stock").await;
    let (lost, done) = (placed(0), placed(1));
    let claim_that_is_lost = claim(&pool, &lost).await;
    let claim_that_is_kept = claim(&pool, &done).await;
    ground.inject(lost).await;
    ground.inject(done).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(2..=20).await;
    ground.expect_effects("stock", &effects(2..=20)).await;
    claim_that_is_kept.commit().await.expect("it is kept");
    claim_that_is_lost.rollback().await.expect("it is lost");
    let expected = effects([0].into_iter().chain(2..=20));
    ground.expect_effects("stock", &expected).await;
    if let Some(broker) = ground.broker_if_any() {
        test_servers::eventually("all is acknowledged", BOUND, async || {
            let queues = broker.queues().await;
            queues.iter().all(|q| q.messages == 0).then_some(())
        })
        .await;
    }
    ground.expect_effects("stock", &expected).await;
}

/// A bus ends in time while a message is put aside, and another one is given it.
async fn what_is_put_aside_at_the_end_is_delivered_again(ground: &Ground) {
    let gated = Gated::new();
    gated.open.add_permits(1);
    let participant = async || {
        let stock = ground.participant("stock").await.settings(one_by_one(1));
        Running::start(stock.handle::<Placed, _>(gated.clone())).await
    };
    let stock = participant().await;
    stock.bus.bound().await;
    let pool = ground.database.pool("stock").await;
    let message = placed(0);
    let claim = claim(&pool, &message).await;
    ground.inject(message).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    ground.expect_effects("stock", &effects([1])).await;
    stock.stop().await;
    claim.rollback().await.expect("it is lost");
    let _stock = participant().await;
    ground.expect_effects("stock", &effects([0, 1])).await;
}

/// Whether a message may be handled depends on what becomes of the one before it.
async fn an_ordered_group_waits_for_a_claim_that_is_held(ground: &Ground) {
    let gated = Gated::new();
    gated.open.add_permits(1);
    let group = ConsumerGroup::new("in-order")
        .handle::<Placed, _>(gated.clone())
        .ordered(1);
    let fence = ConsumerGroup::new("fence").handle::<Placed, _>(Effect::named("fence"));
    let stock = ground.participant("stock").await.group(group).group(fence);
    let stock = Running::start(stock).await;
    stock.bus.bound().await;
    let pool = ground.database.pool("stock").await;
    let keyed = |order| Envelope {
        partition_key: Some("key".to_owned()),
        ..placed(order)
    };
    let first = keyed(0);
    let claim = claim(&pool, &first).await;
    ground.inject(first).await;
    ground.inject(keyed(1)).await;
    // Both have been delivered to each group by now, or are about to be.
    let fenced = [("fence", 0), ("fence", 1)];
    ground.expect_effects("stock", &fenced).await;
    claim.rollback().await.expect("it is lost");
    let expected: Vec<_> = effects([0, 1]).into_iter().chain(fenced).collect();
    ground.expect_effects("stock", &expected).await;
    assert_eq!(*gated.order.lock().expect("no panic before"), [0, 1]);
}

async fn a_replay_leaves_out_a_message_that_is_being_handled(ground: &Ground) {
    let unaware = ground.participant("stock").await;
    let unaware = Running::start(unaware.handle::<Release, _>(Effect::named("other"))).await;
    let known = ground.participant("stock").await;
    let known = Running::start(known.handle::<Placed, _>(Gated::new())).await;
    known.bus.bound().await;
    known.stop().await;
    let (held, free) = (placed(1), placed(2));
    ground.inject(held.clone()).await;
    ground.inject(free).await;
    let dead = letters(&unaware, 2).await;
    unaware.stop().await;
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(Gated::new())).await;
    let pool = ground.database.pool("stock").await;
    let claim = claim(&pool, &held).await;
    let letter = dead
        .iter()
        .find(|letter| letter.message_id == Some(held.id));
    let letter = letter.expect("its letter").id;

    let dead_letters = stock.bus.dead_letters();
    let outcome = dead_letters.replay(letter).await.expect("a database");
    let being_handled = ReplayOutcome::NotReplayable(NotReplayable::BeingHandled);
    assert_eq!(outcome, being_handled);
    let report = dead_letters.replay_all(&ALL, BulkMode::Apply).await;
    let report = report.expect("a database");
    assert_eq!((report.matching, report.replayed), (2, 1));
    assert_eq!(report.not_replayable[&NotReplayable::BeingHandled], 1);
    ground.expect_effects("stock", &effects([2])).await;

    claim.rollback().await.expect("it is lost");
    let outcome = dead_letters.replay(letter).await.expect("a database");
    assert_eq!(outcome, ReplayOutcome::Replayed);
    ground.expect_effects("stock", &effects([1, 2])).await;
}

on_both_transports! {
    a_second_delivery_of_a_message_that_is_being_handled_holds_no_worker,
    what_was_put_aside_is_handled_when_its_claim_is_free,
    what_is_put_aside_at_the_end_is_delivered_again,
    an_ordered_group_waits_for_a_claim_that_is_held,
    a_replay_leaves_out_a_message_that_is_being_handled,
}
