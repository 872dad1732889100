//! Effects happen once, and failures stay with what failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_bus::{
    BatchHandler, Envelope, Handler, HandlerError, Lineage, Received, StartError, TraceContext,
    UnitOfWork,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Effect, Ground, Placed, Reserved, Running, on_both_transports};

fn envelope(order: u32) -> Envelope {
    let lineage = Lineage {
        correlation_id: Uuid::now_v7(),
        causation_id: None,
        trace: TraceContext::default(),
    };
    Envelope::encode("shop", lineage, &Placed { order }).expect("it is JSON")
}

async fn a_message_that_is_delivered_again_has_no_second_effect(ground: &Ground) {
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([0]).await;
    ground.expect_effects("stock", &[("reserve", 0)]).await;

    let twice = envelope(1);
    ground.inject(twice.clone()).await;
    ground.inject(twice.clone()).await;
    ground
        .expect_effects("stock", &[("reserve", 0), ("reserve", 1)])
        .await;
    ground.inject(twice).await;
    shop.place([2]).await;
    let expected = [("reserve", 0), ("reserve", 1), ("reserve", 2)];
    ground.expect_effects("stock", &expected).await;
}

async fn a_failure_that_passes_is_tried_again_until_it_does(ground: &Ground) {
    let flaky = Effect {
        fails_at: Some(2),
        failures: 3,
        ..Effect::named("flaky")
    };
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(flaky)).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=3).await;
    let expected = [("flaky", 1), ("flaky", 2), ("flaky", 3)];
    ground.expect_effects("stock", &expected).await;
    ground
        .expect_count("stock", "select count(*) from inbox_retries", 0)
        .await;
    ground
        .expect_count("stock", "select count(*) from dead_letters", 0)
        .await;
}

async fn one_handlers_failure_never_runs_another_again(ground: &Ground) {
    let broken = Effect {
        fails_at: Some(1),
        failures: u32::MAX,
        ..Effect::named("broken")
    };
    let stock = ground
        .participant("stock")
        .await
        .handle::<Placed, _>(broken)
        .handle::<Placed, _>(Effect::named("sound"));
    let _stock = Running::start(stock).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    let dead = "select count(*) from dead_letters where handler = 'broken' and attempts = 4";
    ground.expect_count("stock", dead, 1).await;
    ground.expect_effects("stock", &[("sound", 1)]).await;
}

async fn a_handlers_messages_go_out_only_with_its_effect(ground: &Ground) {
    let flaky = Effect {
        fails_at: Some(1),
        failures: 3,
        ..Effect::named("reserve")
    };
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(flaky)).await;
    let shop = ground.participant("shop").await;
    let shop = shop.handle::<Reserved, _>(Effect::named("confirm"));
    let shop = Running::start(shop).await;
    shop.place([1]).await;
    ground.expect_effects("shop", &[("confirm", 1)]).await;
    ground.expect_effects("stock", &[("reserve", 1)]).await;
    let taken = "select count(*) from inbox where handler = 'confirm'";
    ground.expect_count("shop", taken, 1).await;
}

async fn a_panic_is_a_failure_like_any_other(ground: &Ground) {
    let panicking = Effect {
        fails_at: Some(1),
        failures: 2,
        panics: true,
        ..Effect::named("panicking")
    };
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(panicking)).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1, 2]).await;
    let expected = [("panicking", 1), ("panicking", 2)];
    ground.expect_effects("stock", &expected).await;
}

/// Handles sets, and notes the largest.
struct InSets {
    effect: Effect,
    largest: Arc<AtomicUsize>,
}

impl BatchHandler<Placed> for InSets {
    async fn handle(
        &self,
        messages: Vec<Received<Placed>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.largest.fetch_max(messages.len(), Ordering::SeqCst);
        for placed in &messages {
            work.caused_by(placed);
            self.effect.apply(placed.order, work).await?;
        }
        Ok(())
    }
}

async fn one_bad_message_of_a_set_fails_alone(ground: &Ground) {
    let largest = Arc::new(AtomicUsize::new(0));
    let in_sets = InSets {
        effect: Effect {
            fails_at: Some(50),
            failures: u32::MAX,
            rejects: true,
            ..Effect::named("set")
        },
        largest: largest.clone(),
    };
    // All are waiting at the broker before the handler starts.
    let shop = Running::start(ground.participant("shop").await).await;
    let first = ground.participant("stock").await;
    let first = Running::start(first.handle::<Placed, _>(Effect::named("first"))).await;
    shop.place([0]).await;
    ground.expect_effects("stock", &[("first", 0)]).await;
    first.stop().await;
    shop.place(1..=100).await;
    ground
        .expect_count("shop", "select count(*) from outbox", 0)
        .await;

    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle_batch::<Placed, _>(in_sets)).await;
    let mut expected: Vec<_> = (1..=100).filter(|n| *n != 50).map(|n| ("set", n)).collect();
    expected.push(("first", 0));
    ground.expect_effects("stock", &expected).await;
    let dead = "select count(*) from dead_letters where handler = 'InSets' and reason = 'rejected'";
    ground.expect_count("stock", dead, 1).await;
    assert!(largest.load(Ordering::SeqCst) > 10, "it was given sets");
}

async fn effects_carry_the_lineage_of_their_cause(ground: &Ground) {
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    let cause = Envelope {
        trace: TraceContext {
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            tracestate: None,
        },
        ..envelope(1)
    };
    ground
        .expect_count("stock", "select count(*) from inbox", 0)
        .await;
    test_servers::eventually("the message is taken", crate::support::BOUND, async || {
        ground.inject(cause.clone()).await;
        (!ground.effects("stock").await.is_empty()).then_some(())
    })
    .await;
    let pool = ground.database.pool("stock").await;
    // Nobody hears `Reserved` here, so the effect stays with its publisher.
    let (correlation, causation, trace): (String, String, String) =
        test_servers::eventually("the effect waits", crate::support::BOUND, async || {
            sqlx::query_as(
                "select attributes ->> 'correlationid', attributes ->> 'causationid', attributes ->> 'traceparent'
                 from outbox_scheduled",
            )
            .fetch_optional(&pool)
            .await
            .ok()?
        })
        .await;
    assert_eq!(correlation, cause.correlation_id.to_string());
    assert_eq!(causation, cause.id.to_string());
    assert!(
        trace.contains("0af7651916cd43dd8448eb211c80319c"),
        "{trace}"
    );
}

async fn two_handlers_that_cant_be_told_apart_are_refused(ground: &Ground) {
    let stock = ground
        .participant("stock")
        .await
        .handle::<Placed, _>(Effect::named("same"))
        .handle::<Placed, _>(Effect::named("same"));
    let refused: Result<_, StartError> = stock.start(CancellationToken::new()).await;
    let message = refused.expect_err("it is refused").to_string();
    assert_eq!(
        message,
        "two handlers named `same` were added for `shop.order.placed`"
    );
}

/// Swallows a statement's error, as one that finds a row there already might.
struct Careless;

impl Handler<Placed> for Careless {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        sqlx::query("insert into effects (handler, number) values ('careless', $1)")
            .bind(i64::from(placed.order))
            .execute(&mut **work)
            .await?;
        if placed.order == 1 {
            let refused = sqlx::query("insert into effects (handler, number) values (null, 1)")
                .execute(&mut **work)
                .await;
            assert!(refused.is_err(), "the column takes no null");
        }
        Ok(())
    }
}

async fn a_swallowed_error_of_the_database_is_no_success(ground: &Ground) {
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Careless)).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(0..=2).await;
    // PostgreSQL rolled order 1 back, whatever the handler said.
    let dead = "select count(*) from dead_letters where reason = 'retries_exhausted'";
    ground.expect_count("stock", dead, 1).await;
    ground
        .expect_effects("stock", &[("careless", 0), ("careless", 2)])
        .await;
}

async fn what_fails_at_the_commit_is_counted_like_any_failure(ground: &Ground) {
    let pool = ground.database.pool("stock").await;
    sqlx::raw_sql(
        "create table known (number bigint primary key);
         insert into known values (0), (2);
         alter table effects add foreign key (number) references known deferrable initially deferred",
    )
    .execute(&pool)
    .await
    .expect("a constraint that is checked at the commit");
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(0..=2).await;
    let dead = "select count(*) from dead_letters where attempts = 4";
    ground.expect_count("stock", dead, 1).await;
    ground
        .expect_effects("stock", &[("reserve", 0), ("reserve", 2)])
        .await;
}

on_both_transports! {
    a_message_that_is_delivered_again_has_no_second_effect,
    a_failure_that_passes_is_tried_again_until_it_does,
    one_handlers_failure_never_runs_another_again,
    a_handlers_messages_go_out_only_with_its_effect,
    a_panic_is_a_failure_like_any_other,
    a_swallowed_error_of_the_database_is_no_success,
    what_fails_at_the_commit_is_counted_like_any_failure,
    one_bad_message_of_a_set_fails_alone,
    effects_carry_the_lineage_of_their_cause,
    two_handlers_that_cant_be_told_apart_are_refused,
}
