//! A broker that is silent, blocks its publishers, or closes channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use event_bus::transport::ConnectionState;
use event_bus::{
    BusSettings, ConsumerGroup, EventBus, EventBusBuilder, Handler, HandlerError, RabbitMq,
    Received, UnitOfWork,
};
use test_servers::eventually;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::{BOUND, Effect, Ground, Placed, Running, quick};
use crate::wire_proxy::WireProxy;

/// What RabbitMQ says when `consumer_timeout` has passed, 3.10 and 4.x.
const DELIVERY_TIMEOUT: &str = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed \
    out. Timeout value used: 1800000 ms. This timeout value can be configured, see consumers doc \
    guide to learn more";

async fn participant(ground: &Ground, service: &str, url: &str) -> EventBusBuilder {
    let pool = ground.database.pool(service).await;
    let transport = RabbitMq::new(url).expect("a broker's address");
    EventBus::builder(service, pool, transport).settings(quick())
}

async fn is_connected(bus: &Running) {
    eventually("the broker is connected", BOUND, async || {
        bus.bus.health().broker_connected.then_some(())
    })
    .await;
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
    let problems = || bus.bus.health().problems;
    let none = eventually("health reports nothing", BOUND * 2, async || {
        problems().is_empty().then_some(())
    });
    if timeout(BOUND, none).await.is_err() {
        assert_eq!(problems(), [], "the health after {BOUND:?}");
    }
}

fn in_order() -> ConsumerGroup {
    let follow = Effect::named("follow");
    ConsumerGroup::new("in-order")
        .handle::<Placed, _>(follow)
        .ordered(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_partition_goes_to_another_member_when_its_member_is_cut_off_silently() {
    let ground = Ground::rabbitmq().await;
    let proxy = WireProxy::before(&ground.broker().url()).await;
    let url = format!("{}?heartbeat=1", proxy.url());
    let cut_off = participant(&ground, "stock", &url).await.group(in_order());
    let cut_off = Running::start(cut_off).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    ground.expect_effects("stock", &[("follow", 1)]).await;
    is_connected(&cut_off).await;

    proxy.fall_silent();
    let other = ground.participant("stock").await.group(in_order());
    let _other = Running::start(other).await;
    shop.place([2]).await;
    // Its member is the active consumer until the broker misses its heartbeats.
    ground
        .expect_effects("stock", &[("follow", 1), ("follow", 2)])
        .await;
    eventually("the member knows that it is cut off", BOUND, async || {
        let health = cut_off.bus.health();
        (health.broker == ConnectionState::Disconnected).then_some(())
    })
    .await;
    reason_of(&cut_off, "broker connection (consuming)").await;
    reason_of(&cut_off, "broker connection (publishing)").await;

    proxy.speak();
    is_connected(&cut_off).await;
    no_problem(&cut_off).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_have_a_heartbeat_of_ten_seconds() {
    let ground = Ground::rabbitmq().await;
    let _stock = Running::start(ground.participant("stock").await).await;
    eventually("the broker lists the connections", BOUND, async || {
        let heartbeats = ground.broker().heartbeats().await;
        (heartbeats == [10, 10]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_broker_of_which_nothing_is_known_yet_is_not_reported_as_lost() {
    let ground = Ground::rabbitmq().await;
    // Accepts connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let waiting = participant(&ground, "stock", &format!("amqp://{address}")).await;
    let waiting = Running::start(waiting).await;
    let health = waiting.bus.health();
    assert_eq!(health.broker, ConnectionState::Connecting);
    assert_eq!(health.problems, []);

    drop(silent);
    eventually("the failure is reported", BOUND, async || {
        let health = waiting.bus.health();
        (health.broker == ConnectionState::Disconnected).then_some(())
    })
    .await;
    let reason = reason_of(&waiting, "broker connection (consuming)").await;
    assert!(reason.contains(&address.to_string()), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_connection_degrades_health_until_it_is_unblocked() {
    let ground = Ground::rabbitmq().await;
    let proxy = WireProxy::before(&ground.broker().url()).await;
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
    let shop = Running::start(participant(&ground, "shop", proxy.url()).await).await;
    is_connected(&shop).await;
    no_problem(&shop).await;

    proxy.block();
    let reason = reason_of(&shop, "broker connection (publishing)").await;
    assert!(reason.contains("low memory"), "{reason}");
    shop.place([1]).await;
    proxy.unblock();
    ground.expect_effects("stock", &[("reserve", 1)]).await;
    no_problem(&shop).await;
}

/// Whatever the broker does, a bus ends within its grace and some seconds.
async fn stops_in_time(fault: fn(&WireProxy), subject: Option<&str>) {
    let ground = Ground::rabbitmq().await;
    let proxy = WireProxy::before(&ground.broker().url()).await;
    let grace = Duration::from_secs(1);
    let settings = BusSettings {
        shutdown_grace: grace,
        ..quick()
    };
    let stock = participant(&ground, "stock", proxy.url()).await;
    let stock = stock
        .settings(settings)
        .handle::<Placed, _>(Effect::named("reserve"))
        .group(in_order());
    let stock = Running::start(stock).await;
    stock.bus.bound().await;
    is_connected(&stock).await;

    fault(&proxy);
    if let Some(subject) = subject {
        reason_of(&stock, subject).await;
    }
    stock.place([1]).await;
    let stopped = timeout(grace + Duration::from_secs(6), stock.stop()).await;
    stopped.expect("it ends in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_stops_in_time_while_its_connections_are_blocked() {
    let publishing = "broker connection (publishing)";
    stops_in_time(WireProxy::block, Some(publishing)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_stops_in_time_while_the_broker_is_silent() {
    stops_in_time(WireProxy::fall_silent, None).await;
}

/// Takes its time with the first message that it gets.
#[derive(Clone, Default)]
struct Slow {
    calls: Arc<AtomicU32>,
    go_on: Arc<Notify>,
}

impl Handler<Placed> for Slow {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            self.go_on.notified().await;
        }
        Effect::named("slow").apply(placed.order, work).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_times_out_is_reported_with_the_setting_and_consuming_goes_on() {
    let ground = Ground::rabbitmq().await;
    let proxy = WireProxy::before(&ground.broker().url()).await;
    let slow = Slow::default();
    // One worker for the slow message, one for its second delivery, which waits for the first, and
    // one for the rest.
    let settings = BusSettings {
        workers: 3,
        ..quick()
    };
    let stock = participant(&ground, "stock", proxy.url()).await;
    let stock = stock.settings(settings).handle::<Placed, _>(slow.clone());
    let stock = Running::start(stock).await;
    stock.bus.bound().await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    eventually("it is being handled", BOUND, async || {
        (slow.calls.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;

    proxy.close_consuming_channels(DELIVERY_TIMEOUT);
    let reason = reason_of(&stock, "queue stock").await;
    assert!(reason.contains("consumer_timeout"), "{reason}");
    // Consuming goes on while the handler still runs.
    no_problem(&stock).await;
    shop.place([2]).await;
    ground.expect_effects("stock", &[("slow", 2)]).await;
    slow.go_on.notify_one();
    ground
        .expect_effects("stock", &[("slow", 1), ("slow", 2)])
        .await;
}
