//! What anybody can put on the wire: it is handled or kept, and what is behind it goes on.

pub(crate) mod clients;
mod properties;
mod wire;

use event_bus::Message;

use crate::raw_amqp::{Properties, RawAmqp};
use crate::support::{BOUND, Effect, Ground, Placed, Running};

pub(crate) const PLACED: (&[u8], &[u8]) = (b"events", Placed::NAME.as_bytes());

/// A shop that places orders, a stock that handles them, and somebody who writes what he likes.
pub(crate) struct Scene {
    pub(crate) ground: Ground,
    pub(crate) shop: Running,
    _stock: Running,
    pub(crate) hostile: RawAmqp,
    pub(crate) orders: u32,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        let ground = Ground::rabbitmq().await;
        let stock = ground.participant("stock").await;
        let stock = Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await;
        let shop = Running::start(ground.participant("shop").await).await;
        let hostile = RawAmqp::connect(&ground.broker().url()).await;
        let mut scene = Self {
            ground,
            shop,
            _stock: stock,
            hostile,
            orders: 0,
        };
        scene.expect_the_next_order_is_handled().await;
        scene
    }

    pub(crate) async fn publish(&mut self, properties: Properties) {
        self.publish_to(PLACED, properties, b"{\"order\":0}").await;
    }

    pub(crate) async fn publish_to(
        &mut self,
        way: (&[u8], &[u8]),
        properties: Properties,
        body: &[u8],
    ) {
        let published = self.hostile.publish(way, &properties, body);
        published.await.expect("the broker takes it");
    }

    pub(crate) async fn expect_the_next_order_is_handled(&mut self) {
        self.orders += 1;
        self.shop.place([self.orders]).await;
        let expected: Vec<_> = (1..=self.orders).map(|n| ("reserve", n.into())).collect();
        self.ground.expect_effects("stock", &expected).await;
    }

    /// The dead letters' reasons, sorted, as soon as there are so many.
    pub(crate) async fn letters(&self, count: usize) -> Vec<String> {
        let pool = self.ground.database.pool("stock").await;
        test_servers::eventually("the dead letters are there", BOUND, async || {
            let query = "select reason || ': ' || reasons[1] from dead_letters order by 1";
            let letters: Vec<String> = sqlx::query_scalar(query).fetch_all(&pool).await.ok()?;
            (letters.len() == count).then_some(letters)
        })
        .await
    }

    pub(crate) async fn expect_letters(&self, mut expected: Vec<String>) {
        expected.sort();
        assert_eq!(self.letters(expected.len()).await, expected);
    }

    pub(crate) async fn expect_empty_queues(&self) {
        test_servers::eventually("all is acknowledged", BOUND, async || {
            let queues = self.ground.broker().queues().await;
            queues.iter().all(|q| q.messages == 0).then_some(())
        })
        .await;
    }
}

pub(crate) fn placed() -> Properties {
    Properties::named(Placed::NAME)
}
