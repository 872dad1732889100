//! What a new version of a service no longer handles, and what is stored for handlers it no longer
//! has.

use std::time::Duration;

use event_bus::{
    BusSettings, ConsumerGroup, Event, EventBusBuilder, Handler, HandlerError, Message, Received,
    RetryPolicy, UnitOfWork,
};
use serde::{Deserialize, Serialize};
use test_servers::eventually;

use crate::support::{BOUND, Effect, Ground, Placed, Running, on_both_transports, quick};

/// Longer than an instance takes to notice that another one has crashed.
const CRASH_BOUND: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
struct Viewed {
    order: u32,
}

impl Message for Viewed {
    type Kind = Event;
    const NAME: &'static str = "shop.order.viewed";
}

impl Handler<Viewed> for Effect {
    async fn handle(
        &self,
        viewed: Received<Viewed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.apply(viewed.order, work).await
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

async fn view(shop: &Running, orders: impl IntoIterator<Item = u32>) {
    let mut work = shop.bus.begin().await.expect("a unit of work");
    for order in orders {
        work.publish(&Viewed { order }).expect("it is JSON");
    }
    work.commit().await.expect("it is committed");
}

async fn stock(ground: &Ground) -> EventBusBuilder {
    let stock = ground.participant("stock").await;
    stock.handle::<Placed, _>(Effect::named("reserve"))
}

async fn start_bound(builder: EventBusBuilder) -> Running {
    let running = Running::start(builder).await;
    let bound = tokio::time::timeout(BOUND, running.bus.bound()).await;
    bound.expect("it is bound");
    running
}

/// The reason of the problem with this subject, once there is one.
async fn reason_of(bus: &Running, subject: &str) -> String {
    eventually(&format!("health reports {subject}"), BOUND, async || {
        let problems = bus.bus.health().problems;
        let problem = problems.into_iter().find(|p| p.subject == subject)?;
        Some(problem.reason)
    })
    .await
}

async fn no_problem(bus: &Running) {
    eventually("health reports nothing", BOUND, async || {
        bus.bus.health().problems.is_empty().then_some(())
    })
    .await;
}

async fn is_bound(ground: &Ground, queue: &str, key: &str) -> bool {
    let bindings = ground.broker().bindings(queue).await;
    bindings.iter().any(|binding| binding.routing_key == key)
}

const DEAD_LETTERS: &str = "select count(*) from dead_letters";

async fn an_event_that_the_new_version_no_longer_handles_makes_no_dead_letter(ground: &Ground) {
    let in_order = || ConsumerGroup::new("in-order").ordered(2);
    let old = stock(ground)
        .await
        .handle::<Viewed, _>(Effect::named("count"));
    let old = old.group(
        in_order()
            .handle::<Placed, _>(Effect::named("follow"))
            .handle::<Viewed, _>(Effect::named("track")),
    );
    start_bound(old).await.stop().await;
    let new = in_order().handle::<Placed, _>(Effect::named("follow"));
    let new = start_bound(stock(ground).await.group(new)).await;
    let shop = Running::start(ground.participant("shop").await).await;
    view(&shop, 1..=500).await;
    // What comes behind them in the queues is handled, so they would have been, too.
    shop.place([501]).await;
    ground
        .expect_effects("stock", &[("follow", 501), ("reserve", 501)])
        .await;
    ground.expect_count("stock", DEAD_LETTERS, 0).await;
    no_problem(&new).await;
}

async fn messages_accumulate_while_all_instances_are_down(ground: &Ground) {
    start_bound(stock(ground).await).await.stop().await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=3).await;
    ground
        .expect_count("shop", "select count(*) from outbox", 0)
        .await;
    let _stock = start_bound(stock(ground).await).await;
    let reserved = [("reserve", 1), ("reserve", 2), ("reserve", 3)];
    ground.expect_effects("stock", &reserved).await;
}

async fn a_removed_group_is_unbound_and_health_counts_what_its_queue_holds(ground: &Ground) {
    let mail = || ConsumerGroup::new("mail").handle::<Placed, _>(Effect::named("mail"));
    start_bound(stock(ground).await.group(mail()))
        .await
        .stop()
        .await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=3).await;
    ground
        .expect_count("shop", "select count(*) from outbox", 0)
        .await;

    let without = start_bound(stock(ground).await).await;
    shop.place([4]).await;
    let reason = reason_of(&without, "group stock.mail").await;
    assert!(reason.contains("hold 3 messages"), "{reason}");
    without.stop().await;

    let again = start_bound(stock(ground).await.group(mail())).await;
    let mailed = (1..=3).map(|n| ("mail", n));
    let reserved = (1..=4).map(|n| ("reserve", n));
    let all: Vec<_> = mailed.chain(reserved).collect();
    ground.expect_effects("stock", &all).await;
    no_problem(&again).await;
}

async fn a_subscription_outlives_a_start_of_the_program_without_it(ground: &Ground) {
    let late = || ConsumerGroup::new("late").handle::<Viewed, _>(Effect::named("late"));
    let first = start_bound(stock(ground).await).await;
    first.bus.subscribe(late()).await.expect("it subscribes");
    first.stop().await;
    start_bound(stock(ground).await).await.stop().await;

    let shop = Running::start(ground.participant("shop").await).await;
    view(&shop, [1]).await;
    let again = start_bound(stock(ground).await).await;
    again.bus.subscribe(late()).await.expect("it subscribes");
    ground.expect_effects("stock", &[("late", 1)]).await;
}

/// Fails often, and is tried again for a long time.
async fn failing(ground: &Ground, name: &'static str) -> EventBusBuilder {
    let settings = BusSettings {
        retry: RetryPolicy {
            immediate: 0,
            delayed: 1000,
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_millis(200),
            ..RetryPolicy::default()
        },
        kill_switch: None,
        ..quick()
    };
    let fails = Effect {
        fails_at: Some(1),
        failures: u32::MAX,
        ..Effect::named(name)
    };
    let stock = ground.participant("stock").await.settings(settings);
    stock.handle::<Placed, _>(fails)
}

async fn stored_work_of_a_handler_that_no_instance_has_is_reported(ground: &Ground) {
    let retries = "select count(*) from inbox_retries";
    let old = start_bound(failing(ground, "ReserveStock").await).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    ground.expect_count("stock", retries, 1).await;
    no_problem(&old).await;
    old.stop().await;

    let renamed = ground.participant("stock").await;
    let renamed = renamed.handle::<Placed, _>(Effect::named("KeepStock"));
    let renamed = start_bound(renamed).await;
    let reason = reason_of(&renamed, "handler ReserveStock").await;
    assert!(reason.contains("1 messages are stored for it"), "{reason}");
    // An older version that has the handler starts beside it, or again.
    let named_so = ground.participant("stock").await;
    let named_so = named_so.handle::<Placed, _>(Effect::named("ReserveStock"));
    let _named_so = start_bound(named_so).await;
    ground.expect_effects("stock", &[("ReserveStock", 1)]).await;
    no_problem(&renamed).await;
}

on_both_transports! {
    an_event_that_the_new_version_no_longer_handles_makes_no_dead_letter,
    messages_accumulate_while_all_instances_are_down,
    a_removed_group_is_unbound_and_health_counts_what_its_queue_holds,
    a_subscription_outlives_a_start_of_the_program_without_it,
    stored_work_of_a_handler_that_no_instance_has_is_reported,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_stays_while_an_older_instance_wants_it() {
    let ground = Ground::rabbitmq().await;
    let old = stock(&ground)
        .await
        .handle::<Viewed, _>(Effect::named("count"));
    let old = start_bound(old).await;
    let _new = start_bound(stock(&ground).await).await;
    assert!(is_bound(&ground, "stock", Viewed::NAME).await);
    old.stop().await;
    eventually(
        "the binding goes with the old instance",
        BOUND,
        async || (!is_bound(&ground, "stock", Viewed::NAME).await).then_some(()),
    )
    .await;
    assert!(is_bound(&ground, "stock", Placed::NAME).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_goes_some_time_after_the_instance_that_wanted_it_has_crashed() {
    let ground = Ground::rabbitmq().await;
    let old = stock(&ground)
        .await
        .handle::<Viewed, _>(Effect::named("count"));
    start_bound(old).await.stop().await;
    // As if it had not been able to delete its record.
    sqlx::query(
        "insert into bus_instances (instance, service, seen_at, handlers, wanted_groups,
                                    wanted_ordered, wanted_kinds, wanted_patterns)
         values (gen_random_uuid(), 'stock', now() - interval '1 hour', '{count}', '{stock}',
                 '{false}', '{event}', '{shop.order.viewed}')",
    )
    .execute(&ground.database.pool("stock").await)
    .await
    .expect("a record");
    let _new = start_bound(stock(&ground).await).await;
    assert!(is_bound(&ground, "stock", Viewed::NAME).await);
    eventually("the binding goes", CRASH_BOUND, async || {
        (!is_bound(&ground, "stock", Viewed::NAME).await).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_instance_unsubscribes_no_other_binds_again() {
    let ground = Ground::rabbitmq().await;
    let late = || ConsumerGroup::new("late").handle::<Viewed, _>(Effect::named("late"));
    let (one, other) = (
        start_bound(stock(&ground).await).await,
        start_bound(stock(&ground).await).await,
    );
    let subscription = one.bus.subscribe(late()).await.expect("it subscribes");
    other.bus.subscribe(late()).await.expect("it subscribes");
    subscription.unsubscribe().await.expect("it unsubscribes");
    let unbound = || {
        eventually("the binding is gone", BOUND, async || {
            (!is_bound(&ground, "stock.late", Viewed::NAME).await).then_some(())
        })
    };
    // The other instance has heard of it once it has unbound the group itself.
    unbound().await;
    ground
        .expect_count(
            "stock",
            "select count(*) from bus_bindings where group_name = 'stock.late' and not bound",
            1,
        )
        .await;
    // A topology is declared anew with each connection.
    ground.broker().close_connections().await;
    eventually("it consumes again", BOUND, async || {
        let bus = other.bus.health();
        (bus.broker_connected && bus.problems.is_empty()).then_some(())
    })
    .await;
    unbound().await;
}
