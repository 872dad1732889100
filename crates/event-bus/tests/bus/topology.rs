//! What a bus needs at the broker: made by it or by an operator, deleted, or refused.

use std::time::Duration;

use event_bus::{ConsumerGroup, EventBus, EventBusBuilder, Message, RabbitMq};
use test_servers::{TestBroker, eventually};

use crate::support::{BOUND, Effect, Ground, Placed, Running, quick};

/// A password with characters that separate the parts of an address.
const PASSWORD: &str = "p,w/@:%";

async fn participant(ground: &Ground, service: &str, url: &str) -> EventBusBuilder {
    let pool = ground.database.pool(service).await;
    let transport = RabbitMq::new(url).expect("a broker's address");
    EventBus::builder(service, pool, transport).settings(quick())
}

async fn start_stock(ground: &Ground, url: &str) -> Running {
    let in_order = ConsumerGroup::new("in-order")
        .handle::<Placed, _>(Effect::named("follow"))
        .ordered(2);
    let stock = participant(ground, "stock", url).await.group(in_order);
    Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await
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

fn effects_of(orders: impl IntoIterator<Item = i64> + Clone) -> Vec<(&'static str, i64)> {
    let follow = orders.clone().into_iter().map(|n| ("follow", n));
    follow
        .chain(orders.into_iter().map(|n| ("reserve", n)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_another_type_degrades_health_until_it_is_gone() {
    let ground = Ground::rabbitmq().await;
    let classic = r#"{"x-queue-type": "classic"}"#;
    ground.broker().declare_queue("stock", classic).await;
    let stock = start_stock(&ground, &ground.broker().url()).await;
    let reason = reason_of(&stock, "group stock").await;
    assert!(
        reason.contains("queue `stock` can't be declared"),
        "{reason}"
    );
    assert!(reason.contains("such as another type"), "{reason}");

    ground.broker().delete_queue("stock").await;
    no_problem(&stock).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    ground.expect_effects("stock", &effects_of([1])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_configure_nothing_works_with_a_topology_that_exists() {
    let ground = Ground::rabbitmq().await;
    let operator = start_stock(&ground, &ground.broker().url()).await;
    operator.bus.bound().await;
    operator.stop().await;

    let user = ground.broker().user(PASSWORD, "^$", ".*", ".*").await;
    let stock = start_stock(&ground, &user).await;
    let shop = Running::start(participant(&ground, "shop", &user).await).await;
    shop.place(1..=3).await;
    ground.expect_effects("stock", &effects_of(1..=3)).await;
    no_problem(&stock).await;
    assert!(shop.bus.health().broker_connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_is_named_until_it_is_granted() {
    let ground = Ground::rabbitmq().await;
    let broker = ground.broker();
    let user = broker.user(PASSWORD, "^$", ".*", ".*").await;
    let stock = start_stock(&ground, &user).await;
    let reason = reason_of(&stock, "group stock").await;
    let missing = "exchange `events` does not exist, or is hidden from the user";
    assert!(reason.contains(missing), "{reason}");

    // An operator makes the topology: now the queue can't be read, and its binding not be checked.
    broker.user(PASSWORD, "^$", ".*", "^$").await;
    let operator = start_stock(&ground, &broker.url()).await;
    operator.bus.bound().await;
    operator.stop().await;
    let reason = reason_of(&stock, "queue stock").await;
    assert!(reason.contains("`read`"), "{reason}");
    let reason = reason_of(&stock, "group stock").await;
    assert!(reason.contains("may not bind"), "{reason}");
    for problem in stock.bus.health().problems {
        assert!(!problem.to_string().contains(PASSWORD), "{problem}");
    }

    broker.user(PASSWORD, ".*", ".*", ".*").await;
    no_problem(&stock).await;
    stock.bus.bound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_deleted_at_the_broker_is_restored() {
    let ground = Ground::rabbitmq().await;
    let broker = ground.broker();
    let stock = start_stock(&ground, &broker.url()).await;
    stock.bus.bound().await;
    let queues = [
        "stock",
        "stock.dead",
        "stock.in-order.0",
        "stock.in-order.1",
    ];
    let bindings = async || {
        let mut all = Vec::new();
        for queue in queues {
            let bindings = broker.bindings(queue).await;
            let mut of_queue: Vec<_> = bindings
                .into_iter()
                .map(|b| (queue, b.exchange, b.routing_key))
                .collect();
            of_queue.sort();
            all.extend(of_queue);
        }
        all
    };
    let before = bindings().await;
    let shop = Running::start(ground.participant("shop").await).await;
    let steps: [&[&str]; 4] = [
        &["exchange events", "exchange dead-letters"],
        &["exchange stock.in-order", "exchange stock.in-order.of-2"],
        &["binding stock", "binding stock.in-order"],
        &["queue stock", "queue stock.dead", "queue stock.in-order.1"],
    ];
    for (deleted, order) in steps.into_iter().zip(1..) {
        for what in deleted {
            delete(broker, what).await;
        }
        // Nothing is published meanwhile: only what consumers restore is there.
        eventually(&format!("{deleted:?} are restored"), BOUND, async || {
            (bindings().await == before).then_some(())
        })
        .await;
        no_problem(&stock).await;
        // Of a binding between two exchanges the lists of the queues say nothing, so it may take
        // another message until there is one again.
        eventually(&format!("{deleted:?} work again"), BOUND, async || {
            let done = ground.effects("stock").await;
            let is_done = |name: &str| done.contains(&(name.to_owned(), i64::from(order)));
            if is_done("follow") && is_done("reserve") {
                return Some(());
            }
            shop.place([order]).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            None
        })
        .await;
    }
}

async fn delete(broker: &TestBroker, what: &str) {
    match what.split_once(' ').expect("a kind and a name") {
        ("exchange", exchange) => broker.delete_exchange(exchange).await,
        ("queue", queue) => broker.delete_queue(queue).await,
        (_, name) => {
            let to = if name == "stock" { "q" } else { "e" };
            let key = Placed::NAME;
            broker.delete_binding("events", to, name, key).await;
        }
    }
}
