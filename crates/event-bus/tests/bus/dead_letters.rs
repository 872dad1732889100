//! What could not be handled is found, replayed with one effect, or discarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event_bus::dead_letters::{
    BulkMode, DeadLetterFilter, DeadLetterReason, DeadLetterSummary, NotReplayable, ReplayOutcome,
};
use event_bus::{Handler, HandlerError, Message as _, Received, UnitOfWork};
use sqlx::PgPool;

use crate::support::{BOUND, Effect, Ground, Placed, Release, Running, on_both_transports, placed};

pub(crate) const ALL: DeadLetterFilter = DeadLetterFilter {
    handler: None,
    name: None,
    reason: None,
    message_id: None,
    since: None,
    until: None,
};

/// A handler that rejects everything until it is mended, and after its effect.
#[derive(Clone)]
pub(crate) struct Mendable {
    effect: Effect,
    mended: Arc<AtomicBool>,
}

impl Mendable {
    pub(crate) fn named(name: &'static str) -> Self {
        Self {
            effect: Effect::named(name),
            mended: Arc::default(),
        }
    }

    pub(crate) fn set_mended(&self, mended: bool) {
        self.mended.store(mended, Ordering::SeqCst);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the stock is being counted")]
struct BeingCounted(#[source] std::io::Error);

impl Handler<Placed> for Mendable {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.effect.apply(placed.order, work).await?;
        if self.mended.load(Ordering::SeqCst) {
            return Ok(());
        }
        let cause = std::io::Error::other("until noon");
        Err(HandlerError::reject(BeingCounted(cause)))
    }

    fn name(&self) -> &'static str {
        self.effect.name
    }
}

/// Waits until so many letters are there, and lists them.
pub(crate) async fn letters(bus: &Running, expected: usize) -> Vec<DeadLetterSummary> {
    test_servers::eventually("the letters are there", BOUND, async || {
        let letters = bus.bus.dead_letters().list(&ALL, None, 1_000_000).await;
        letters.ok().filter(|letters| letters.len() == expected)
    })
    .await
}

async fn a_replayed_letter_goes_to_the_handler_that_failed_and_to_no_other(ground: &Ground) {
    let broken = Mendable::named("broken");
    let stock = ground
        .participant("stock")
        .await
        .handle::<Placed, _>(broken.clone())
        .handle::<Placed, _>(Effect::named("sound"));
    let stock = Running::start(stock).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    let letter = letters(&stock, 1).await.remove(0);
    assert_eq!(letter.handler.as_deref(), Some("broken"));
    assert_eq!(letter.name.as_deref(), Some(Placed::NAME));
    assert_eq!(letter.reason, DeadLetterReason::Rejected);
    assert_eq!(letter.error, "the stock is being counted");
    assert_eq!((letter.attempts, letter.body_bytes), (1, 11));

    let dead_letters = stock.bus.dead_letters();
    let details = dead_letters.show(letter.id).await.expect("a database");
    let details = details.expect("it is there");
    assert_eq!(details.summary, letter);
    assert_eq!(
        details.reasons,
        ["the stock is being counted", "until noon"]
    );
    assert_eq!(details.body, b"{\"order\":1}"[..]);
    let envelope = details.envelope.expect("it is a message");
    assert_eq!(Some(envelope.id), letter.message_id);
    assert_eq!(envelope.body, details.body);

    broken.set_mended(true);
    let replay = async || dead_letters.replay(letter.id).await.expect("a database");
    assert_eq!(replay().await, ReplayOutcome::Replayed);
    assert_eq!(replay().await, ReplayOutcome::NotFound);
    ground
        .expect_effects("stock", &[("broken", 1), ("sound", 1)])
        .await;
    ground
        .expect_count("stock", "select count(*) from inbox_retries", 0)
        .await;
    letters(&stock, 0).await;
}

async fn a_letter_that_dies_again_keeps_its_history(ground: &Ground) {
    let failing = Effect {
        fails_at: Some(1),
        failures: u32::MAX,
        ..Effect::named("reserve")
    };
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(failing)).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    let mut before = letters(&stock, 1).await.remove(0);
    assert_eq!(before.attempts, 4);
    for attempts in [8, 12] {
        let outcome = stock.bus.dead_letters().replay(before.id).await;
        assert_eq!(outcome.expect("a database"), ReplayOutcome::Replayed);
        let again = letters(&stock, 1).await.remove(0);
        assert_eq!(again.attempts, attempts, "all attempts of the policy anew");
        assert_eq!(again.first_failed_at, before.first_failed_at);
        assert_eq!(again.reason, DeadLetterReason::RetriesExhausted);
        assert!(again.id > before.id && again.dead_at > before.dead_at);
        before = again;
    }
    ground.expect_effects("stock", &[]).await;
}

async fn operators_who_replay_at_the_same_time_cause_one_effect(ground: &Ground) {
    const ORDERS: u32 = 60;
    let broken = Mendable::named("broken");
    let mut instances = Vec::new();
    for _ in 0..3 {
        let stock = ground.participant("stock").await;
        instances.push(Running::start(stock.handle::<Placed, _>(broken.clone())).await);
    }
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=ORDERS).await;
    let dead = letters(&instances[0], ORDERS as usize).await;
    broken.set_mended(true);

    let mut operators = tokio::task::JoinSet::new();
    for instance in &instances {
        let (bus, ids) = (instance.bus.clone(), dead.iter().map(|letter| letter.id));
        let ids: Vec<_> = ids.collect();
        operators.spawn(async move {
            let report = bus.dead_letters().replay_all(&ALL, BulkMode::Apply).await;
            report.expect("a database").replayed
        });
        let bus = instance.bus.clone();
        operators.spawn(async move {
            let mut replayed = 0;
            for id in ids {
                let outcome = bus.dead_letters().replay(id).await.expect("a database");
                replayed += u64::from(outcome == ReplayOutcome::Replayed);
            }
            replayed
        });
    }
    let replayed: u64 = operators.join_all().await.into_iter().sum();
    assert_eq!(replayed, u64::from(ORDERS));
    let expected: Vec<_> = (1..=i64::from(ORDERS)).map(|n| ("broken", n)).collect();
    ground.expect_effects("stock", &expected).await;
    letters(&instances[0], 0).await;
    ground
        .expect_count("stock", "select count(*) from inbox_retries", 0)
        .await;
}

/// Everything that a replay could change.
async fn state(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select 'letter ' || id::text || xmin::text || xmax::text from dead_letters
         union all select 'retry ' || message_id::text || handler from inbox_retries
         union all select 'taken ' || message_id::text || handler from inbox
         order by 1",
    )
    .fetch_all(pool)
    .await
    .expect("the tables")
}

async fn a_dry_run_changes_nothing_and_foretells_what_is_done(ground: &Ground) {
    // Unknown at first: these reach no handler.
    let first = ground.participant("stock").await;
    let first = Running::start(first.handle::<Placed, _>(Effect::named("first"))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([0]).await;
    ground.expect_effects("stock", &[("first", 0)]).await;
    first.stop().await;
    let unaware = ground.participant("stock").await;
    let unaware = Running::start(unaware.handle::<Release, _>(Effect::named("other"))).await;
    shop.place(1..=3).await;
    letters(&unaware, 3).await;
    let report = unaware.bus.dead_letters();
    let report = report.replay_all(&ALL, BulkMode::Apply).await;
    let report = report.expect("a database");
    assert_eq!((report.matching, report.replayed), (3, 0));
    assert_eq!(report.not_replayable[&NotReplayable::NoHandler], 3);
    unaware.stop().await;

    let broken = Mendable::named("broken");
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(broken.clone())).await;
    shop.place(4..=6).await;
    letters(&stock, 6).await;
    broken.set_mended(true);
    let pool = ground.database.pool("stock").await;
    let before = state(&pool).await;
    let dead_letters = stock.bus.dead_letters();
    let plan = dead_letters.replay_all(&ALL, BulkMode::DryRun).await;
    let plan = plan.expect("a database");
    assert_eq!((plan.matching, plan.replayed), (6, 6));
    let discarded = dead_letters.discard_all(&ALL, BulkMode::DryRun).await;
    assert_eq!(discarded.expect("a database"), 6);
    assert_eq!(state(&pool).await, before, "a dry run changes nothing");

    let report = dead_letters.replay_all(&ALL, BulkMode::Apply).await;
    assert_eq!(report.expect("a database"), plan);
    let mut expected: Vec<_> = (1..=6).map(|n| ("broken", n)).collect();
    expected.push(("first", 0));
    ground.expect_effects("stock", &expected).await;
}

async fn a_letter_of_nobody_goes_to_each_handler_that_has_not_had_it(ground: &Ground) {
    let message = placed(1);
    let early = Effect::named("early");
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(early.clone())).await;
    test_servers::eventually("one handler has had it", BOUND, async || {
        ground.inject(message.clone()).await;
        (!ground.effects("stock").await.is_empty()).then_some(())
    })
    .await;
    stock.stop().await;
    let unaware = ground.participant("stock").await;
    let unaware = Running::start(unaware.handle::<Release, _>(Effect::named("other"))).await;
    ground.inject(message).await;
    let letter = letters(&unaware, 1).await.remove(0);
    assert_eq!(letter.reason, DeadLetterReason::UnknownMessage);
    assert_eq!((letter.handler, letter.attempts), (None, 0));
    unaware.stop().await;
    // The letter is kept for longer than the inbox remembers.
    let pool = ground.database.pool("stock").await;
    sqlx::query("truncate inbox")
        .execute(&pool)
        .await
        .expect("it is forgotten");

    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(early.clone())).await;
    let outcome = stock.bus.dead_letters().replay(letter.id).await;
    let taken = ReplayOutcome::NotReplayable(NotReplayable::AlreadyTaken);
    assert_eq!(outcome.expect("a database"), taken);
    stock.stop().await;
    let stock = ground
        .participant("stock")
        .await
        .handle::<Placed, _>(early)
        .handle::<Placed, _>(Effect::named("late"))
        .handle::<Placed, _>(Effect::named("later"));
    let stock = Running::start(stock).await;
    let outcome = stock.bus.dead_letters().replay(letter.id).await;
    assert_eq!(outcome.expect("a database"), ReplayOutcome::Replayed);
    ground
        .expect_effects("stock", &[("early", 1), ("late", 1), ("later", 1)])
        .await;
    letters(&stock, 0).await;
}

async fn a_discarded_letter_is_gone(ground: &Ground) {
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(Mendable::named("broken"))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=3).await;
    let dead = letters(&stock, 3).await;
    let dead_letters = stock.bus.dead_letters();
    let id = dead[1].id;
    assert!(dead_letters.discard(id).await.expect("a database"));
    assert!(!dead_letters.discard(id).await.expect("a database"));
    assert_eq!(dead_letters.show(id).await.expect("a database"), None);
    let outcome = dead_letters.replay(id).await.expect("a database");
    assert_eq!(outcome, ReplayOutcome::NotFound);
    let of_one = DeadLetterFilter {
        message_id: dead[0].message_id,
        ..ALL
    };
    let discarded = dead_letters.discard_all(&of_one, BulkMode::Apply).await;
    assert_eq!(discarded.expect("a database"), 1);
    assert_eq!(letters(&stock, 1).await, dead[2..]);
}

async fn a_replay_wakes_the_retries(ground: &Ground) {
    let broken = Mendable::named("broken");
    // Nobody looks by itself in time.
    let patient = event_bus::BusSettings {
        poll_interval: BOUND * 3,
        ..crate::support::quick()
    };
    let stock = ground.participant("stock").await.settings(patient);
    let stock = Running::start(stock.handle::<Placed, _>(broken.clone())).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    let letter = letters(&stock, 1).await.remove(0);
    broken.set_mended(true);
    let outcome = stock.bus.dead_letters().replay(letter.id).await;
    assert_eq!(outcome.expect("a database"), ReplayOutcome::Replayed);
    ground.expect_effects("stock", &[("broken", 1)]).await;
}

on_both_transports! {
    a_replayed_letter_goes_to_the_handler_that_failed_and_to_no_other,
    a_letter_that_dies_again_keeps_its_history,
    operators_who_replay_at_the_same_time_cause_one_effect,
    a_dry_run_changes_nothing_and_foretells_what_is_done,
    a_letter_of_nobody_goes_to_each_handler_that_has_not_had_it,
    a_discarded_letter_is_gone,
    a_replay_wakes_the_retries,
}
