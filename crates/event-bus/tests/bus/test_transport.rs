//! The test kit with PostgreSQL: exactly once, under each fault that a network makes.

use std::time::Duration;

use event_bus::testing::TestTransport;
use event_bus::transport::Transport;
use event_bus::{EventBus, RabbitMq};

use crate::support::{BOUND, Effect, Ground, Placed, Reserved, Running, quick};

/// A shop that places orders and a stock that reserves for them.
struct Scene<T> {
    transport: TestTransport<T>,
    shop: Running,
    stock: Running,
    placed: u32,
}

impl<T: Transport> Scene<T> {
    async fn set(ground: &Ground, shops: T, stocks: T) -> Self {
        let transport = TestTransport::around(shops);
        let stocks = transport.beside(stocks);
        let pool = ground.database.pool("stock").await;
        let stock = EventBus::builder("stock", pool, stocks).settings(quick());
        let stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
        let pool = ground.database.pool("shop").await;
        let shop = EventBus::builder("shop", pool, transport.clone()).settings(quick());
        let shop = Running::start(shop.handle::<Reserved, _>(Effect::named("note"))).await;
        let mut scene = Self {
            transport,
            shop,
            stock,
            placed: 0,
        };
        // Both must be heard, so that both groups are bound when both are handled.
        scene.place(1).await;
        ground.expect_effects("shop", &[("note", 1)]).await;
        scene
    }

    async fn place(&mut self, orders: u32) {
        self.shop
            .place(self.placed + 1..=self.placed + orders)
            .await;
        self.placed += orders;
    }

    async fn expect_each_order_once(&self, ground: &Ground) {
        let buses = [&self.shop.bus, &self.stock.bus];
        self.transport.wait_until_idle(&buses, BOUND).await;
        for (service, handler) in [("stock", "reserve"), ("shop", "note")] {
            let expected: Vec<_> = (1..=self.placed)
                .map(|order| (handler.to_owned(), order.into()))
                .collect();
            assert_eq!(ground.effects(service).await, expected);
        }
        let mut reserved: Vec<_> = self.transport.published::<Reserved>();
        reserved.sort_by_key(|reserved| reserved.order);
        let orders: Vec<_> = reserved
            .into_iter()
            .map(|reserved| reserved.order)
            .collect();
        assert_eq!(orders, (1..=self.placed).collect::<Vec<_>>());
    }
}

async fn publishing_that_fails_is_done_again<T: Transport>(mut scene: Scene<T>, ground: &Ground) {
    scene.transport.fail_publishes(3);
    scene.place(5).await;
    scene.expect_each_order_once(ground).await;
}

async fn a_lost_confirm_has_no_second_effect<T: Transport>(mut scene: Scene<T>, ground: &Ground) {
    scene.transport.lose_confirms(3);
    scene.place(5).await;
    scene.expect_each_order_once(ground).await;
}

async fn a_second_delivery_has_no_second_effect<T: Transport>(
    mut scene: Scene<T>,
    ground: &Ground,
) {
    scene.transport.deliver_twice(6);
    scene.place(5).await;
    scene.expect_each_order_once(ground).await;
}

async fn a_lost_acknowledgement_has_no_second_effect<T: Transport>(
    mut scene: Scene<T>,
    ground: &Ground,
) {
    scene.transport.lose_acknowledgements(6);
    scene.place(5).await;
    scene.expect_each_order_once(ground).await;
}

async fn a_cut_connection_loses_and_doubles_nothing<T: Transport>(
    mut scene: Scene<T>,
    ground: &Ground,
) {
    for _ in 0..3 {
        scene.place(50).await;
        scene.transport.cut();
        assert!(!scene.shop.bus.health().broker_connected);
        scene.place(50).await;
        scene.transport.restore();
    }
    scene.expect_each_order_once(ground).await;
}

async fn all_faults_together_lose_and_double_nothing<T: Transport>(
    mut scene: Scene<T>,
    ground: &Ground,
) {
    for _ in 0..4 {
        scene.transport.lose_confirms(5);
        scene.transport.deliver_twice(5);
        scene.place(25).await;
        scene.transport.cut();
        scene.transport.fail_publishes(5);
        scene.transport.lose_acknowledgements(5);
        scene.transport.restore();
        scene.place(25).await;
    }
    scene.expect_each_order_once(ground).await;
}

macro_rules! around_both_transports {
    ($($name:ident,)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                let ground = super::Ground::in_memory().await;
                let memory = event_bus::InMemory::new();
                let scene = super::Scene::set(&ground, memory.clone(), memory).await;
                super::$name(scene, &ground).await;
            })*
        }

        mod rabbitmq {
            $(#[tokio::test]
            async fn $name() {
                let ground = super::Ground::rabbitmq().await;
                let rabbitmq = || super::RabbitMq::new(&ground.broker().url());
                let [shops, stocks] = [(); 2].map(|()| rabbitmq().expect("a broker's address"));
                let scene = super::Scene::set(&ground, shops, stocks).await;
                super::$name(scene, &ground).await;
            })*
        }
    };
}

around_both_transports! {
    publishing_that_fails_is_done_again,
    a_lost_confirm_has_no_second_effect,
    a_second_delivery_has_no_second_effect,
    a_lost_acknowledgement_has_no_second_effect,
    a_cut_connection_loses_and_doubles_nothing,
    all_faults_together_lose_and_double_nothing,
}

#[tokio::test]
#[should_panic(expected = "not idle after 300ms: an outbox has messages")]
async fn what_waits_for_a_connection_is_not_idle() {
    let ground = Ground::in_memory().await;
    let memory = event_bus::InMemory::new();
    let mut scene = Scene::set(&ground, memory.clone(), memory).await;
    scene.transport.cut();
    scene.place(1).await;
    let buses = [&scene.shop.bus, &scene.stock.bus];
    let bound = Duration::from_millis(300);
    scene.transport.wait_until_idle(&buses, bound).await;
}
