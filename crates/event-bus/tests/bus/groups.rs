//! Consumer groups: their own queues, patterns, and subscribing while the bus runs.

use std::sync::{Arc, Mutex};

use event_bus::{
    BatchHandler, ConsumerGroup, DynamicHandler, Event, EventBusBuilder, HandlerError, Message,
    Received, RetryPolicy, StartError, UnitOfWork,
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::support::{
    BOUND, Effect, Ground, Placed, Release, Reserved, Running, on_both_transports,
};

/// Notes the names of what it gets.
struct Audit;

impl DynamicHandler for Audit {
    async fn handle(
        &self,
        event: Received<serde_json::Value>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let order = event["order"]
            .as_i64()
            .ok_or_else(|| HandlerError::reject(format!("`{}` is about no order", event.name())))?;
        sqlx::query("insert into effects (handler, number) values ($1, $2)")
            .bind(format!("audit {}", event.name()))
            .bind(order)
            .execute(&mut **work)
            .await?;
        Ok(())
    }
}

async fn events_are_handled_by_the_pattern_of_their_names(ground: &Ground) {
    let stock = ground.participant("stock").await;
    let stock = stock
        .handle::<Placed, _>(Effect::named("reserve"))
        .handle_dynamic("shop.#", Audit);
    let _stock = Running::start(stock).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1, 2]).await;
    let expected = [
        ("audit shop.order.placed", 1),
        ("audit shop.order.placed", 2),
        ("reserve", 1),
        ("reserve", 2),
    ];
    ground.expect_effects("stock", &expected).await;
}

/// One group can't even begin, and the other is done.
async fn a_group_that_is_stuck_holds_up_no_other(ground: &Ground) {
    let stuck = Effect {
        fails_at: Some(1),
        failures: u32::MAX,
        ..Effect::named("mail")
    };
    let never = RetryPolicy {
        immediate: u32::MAX - 1,
        ..RetryPolicy::default()
    };
    let mail = ConsumerGroup::new("mail")
        .handle::<Placed, _>(stuck.clone())
        .concurrency(1)
        .retry(never);
    let stock = ground.participant("stock").await.group(mail);
    let stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    stock.bus.bound().await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    test_servers::eventually("the other group is stuck", BOUND, async || {
        let attempts = stuck.attempts.load(std::sync::atomic::Ordering::SeqCst);
        (attempts > 1).then_some(())
    })
    .await;
    shop.place(2..=20).await;
    let reserved: Vec<_> = (1..=20).map(|n| ("reserve", n)).collect();
    ground.expect_effects("stock", &reserved).await;
}

#[derive(Clone, Default)]
struct SetSizes(Arc<Mutex<Vec<usize>>>);

impl BatchHandler<Placed> for SetSizes {
    async fn handle(
        &self,
        orders: Vec<Received<Placed>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        for order in &orders {
            Effect::named("set").apply(order.order, work).await?;
        }
        self.0.lock().expect("no panic before").push(orders.len());
        Ok(())
    }
}

async fn a_group_takes_no_more_at_once_than_its_batch(ground: &Ground) {
    let sizes = SetSizes::default();
    let sets = ConsumerGroup::new("sets")
        .handle_batch::<Placed, _>(sizes.clone())
        .batch(3)
        .concurrency(1);
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=50).await;
    let _stock = Running::start(ground.participant("stock").await.group(sets)).await;
    let expected: Vec<_> = (1..=50).map(|n| ("set", n)).collect();
    ground.expect_effects("stock", &expected).await;
    let sizes = sizes.0.lock().expect("no panic before").clone();
    assert!(sizes.iter().all(|size| *size <= 3), "{sizes:?}");
    assert!(sizes.contains(&3), "{sizes:?}");
}

async fn a_subscription_at_run_time_gets_what_is_published_from_then_on(ground: &Ground) {
    let stock = Running::start(ground.participant("stock").await).await;
    let shop = ground.participant("shop").await;
    let shop = Running::start(shop.handle::<Reserved, _>(Effect::named("reserved"))).await;
    let reserve = || ConsumerGroup::new("late").handle::<Placed, _>(Effect::named("reserve"));
    let subscription = stock.bus.subscribe(reserve()).await.expect("it subscribes");
    assert_eq!(subscription.queue(), "stock.late");
    shop.place(1..=10).await;
    let expected: Vec<_> = (1..=10).map(|n| ("reserve", n)).collect();
    ground.expect_effects("stock", &expected).await;

    subscription.unsubscribe().await.expect("it unsubscribes");
    shop.place([11]).await;
    // It must be heard and nobody is bound: it waits with its publisher.
    ground
        .expect_count("shop", "select count(*) from outbox_scheduled", 1)
        .await;
    let again = stock.bus.subscribe(reserve()).await;
    again.expect("it subscribes again");
    let expected: Vec<_> = (1..=11).map(|n| ("reserve", n)).collect();
    ground.expect_effects("stock", &expected).await;
}

async fn what_has_reached_a_queue_is_handled_before_it_goes(ground: &Ground) {
    let stock = Running::start(ground.participant("stock").await).await;
    let shop = Running::start(ground.participant("shop").await).await;
    for group in [
        ConsumerGroup::new("plain").handle::<Placed, _>(Effect::named("plain")),
        ConsumerGroup::new("in-order")
            .handle::<Placed, _>(Effect::named("in-order"))
            .ordered(2),
    ] {
        let subscription = stock.bus.subscribe(group.prefetch(5)).await;
        shop.place(1..=200).await;
        ground
            .expect_count("shop", "select count(*) from outbox", 0)
            .await;
        let subscription = subscription.expect("it subscribes");
        subscription.unsubscribe().await.expect("it unsubscribes");
    }
    let of = |handler| (1..=200).map(move |n| (handler, n));
    let expected: Vec<_> = of("in-order").chain(of("plain")).collect();
    assert_eq!(ground.effects("stock").await.len(), expected.len());
    ground.expect_effects("stock", &expected).await;
}

#[tokio::test]
async fn the_binding_and_the_queue_go_with_the_subscription() {
    let ground = Ground::rabbitmq().await;
    let stock = Running::start(ground.participant("stock").await).await;
    let late = ConsumerGroup::new("late").handle::<Placed, _>(Effect::named("reserve"));
    let subscription = stock.bus.subscribe(late).await.expect("it subscribes");
    let bindings = ground.broker().bindings("stock.late").await;
    assert!(bindings.iter().any(|b| b.routing_key == Placed::NAME));
    subscription.unsubscribe().await.expect("it unsubscribes");
    assert!(ground.broker().queue("stock.late").await.is_none());
    assert!(ground.broker().queue("stock.late.dead").await.is_none());
}

#[derive(Serialize, Deserialize)]
struct OtherPlaced {}

impl Message for OtherPlaced {
    type Kind = Event;
    const NAME: &'static str = Placed::NAME;
}

struct Ignore;

impl event_bus::Handler<OtherPlaced> for Ignore {
    async fn handle(
        &self,
        _: Received<OtherPlaced>,
        _: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        Ok(())
    }
}

#[tokio::test]
async fn what_cant_stand_side_by_side_is_refused_at_the_start() {
    let ground = Ground::in_memory().await;
    let refused = async |wrong: fn(EventBusBuilder) -> EventBusBuilder| {
        let bus = wrong(ground.participant("stock").await);
        let refused: StartError = bus
            .start(CancellationToken::new())
            .await
            .expect_err("it is refused");
        refused.to_string()
    };
    let reserve = || Effect::named("reserve");
    assert_eq!(
        refused(|bus| bus
            .handle::<Placed, _>(Effect::named("reserve"))
            .handle::<OtherPlaced, _>(Ignore))
        .await,
        "two message types have the name `shop.order.placed`"
    );
    assert_eq!(
        refused(|bus| {
            let other = ConsumerGroup::new("x").handle::<Release, _>(Effect::named("other"));
            bus.handle::<Release, _>(Effect::named("one")).group(other)
        })
        .await,
        "the command `stock.release` has a receiver already, `other` would be a second"
    );
    assert_eq!(
        refused(|bus| bus.handle_dynamic("", Audit)).await,
        "`Audit` was added for a pattern that is empty or longer than 255 bytes"
    );
    for name in ["", "a.b", "dead", "7", "übrig", &"x".repeat(101)] {
        let bus = ground.participant("stock").await;
        let group = ConsumerGroup::new(name).handle::<Placed, _>(reserve());
        let refused = bus.group(group).start(CancellationToken::new()).await;
        assert!(
            matches!(refused, Err(StartError::InvalidGroup { .. })),
            "{name}"
        );
    }
    for partitions in [0, 33] {
        let bus = ground.participant("stock").await;
        let group = ConsumerGroup::new("x").handle::<Placed, _>(reserve());
        let refused = bus.group(group.ordered(partitions));
        let refused = refused.start(CancellationToken::new()).await;
        assert!(matches!(refused, Err(StartError::InvalidPartitions { .. })));
    }
}

#[tokio::test]
async fn a_name_is_refused_at_run_time_as_at_the_start() {
    let ground = Ground::in_memory().await;
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    let group = |name| ConsumerGroup::new(name).handle::<Placed, _>(Effect::named("mail"));
    stock
        .bus
        .subscribe(group("a"))
        .await
        .expect("it subscribes");
    let same_group = stock.bus.subscribe(group("a")).await;
    assert!(matches!(same_group, Err(StartError::InvalidGroup { .. })));
    let same_handler = stock.bus.subscribe(group("b")).await;
    assert!(matches!(
        same_handler,
        Err(StartError::HandlerOfTwoGroups { .. })
    ));
}

on_both_transports! {
    events_are_handled_by_the_pattern_of_their_names,
    a_group_that_is_stuck_holds_up_no_other,
    a_group_takes_no_more_at_once_than_its_batch,
    a_subscription_at_run_time_gets_what_is_published_from_then_on,
    what_has_reached_a_queue_is_handled_before_it_goes,
}
