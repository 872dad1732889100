//! A second participant of the bus, which says what ordering says and keeps what it hears.

use std::sync::{Arc, Mutex};

use event_bus::{
    BusSettings, EntityCreatedEto, EntityDeletedEto, EntityUpdatedEto, EventBus, Handler,
    HandlerError, RabbitMq, Received, UnitOfWork,
};
use event_contracts::catalog::{
    ProductEto, ProductPriceChangedEto, ReleaseStock, StockRejectedEto, StockReservedEto,
};
use event_contracts::ordering::OrderPlacedEto;
use test_servers::eventually;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{SOON, Servers};

/// What the catalog says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Created(ProductEto),
    Updated(ProductEto),
    Deleted(ProductEto),
    PriceChanged(ProductPriceChangedEto),
    Reserved(StockReservedEto),
    Rejected(StockRejectedEto),
}

impl Heard {
    /// The order it answers, if it answers one.
    pub(crate) fn order(&self) -> Option<Uuid> {
        match self {
            Self::Reserved(reserved) => Some(reserved.order_id),
            Self::Rejected(rejected) => Some(rejected.order_id),
            _ => None,
        }
    }
}

/// An order that wants so many of a product.
pub(crate) fn order(product: Uuid, quantity: u32) -> OrderPlacedEto {
    OrderPlacedEto {
        order_id: Uuid::now_v7(),
        customer_name: "David".to_owned(),
        customer_id: None,
        product_id: product,
        quantity,
    }
}

/// Runs as long as it is kept.
pub(crate) struct Ordering {
    bus: EventBus,
    ears: Ears,
    _shutdown: DropGuard,
}

/// Keeps what is heard, in the order in which it comes.
#[derive(Clone, Default)]
struct Ears(Arc<Mutex<Vec<Heard>>>);

macro_rules! hears {
    ($($message:ty as $variant:ident by $take:expr;)+) => {$(
        impl Handler<$message> for Ears {
            async fn handle(
                &self,
                message: Received<$message>,
                _work: &mut UnitOfWork,
            ) -> Result<(), HandlerError> {
                let heard = Heard::$variant($take(message.into_inner()));
                self.0.lock().expect("no panic while locked").push(heard);
                Ok(())
            }
        }
    )+};
}

hears! {
    EntityCreatedEto<ProductEto> as Created by |message: EntityCreatedEto<_>| message.entity;
    EntityUpdatedEto<ProductEto> as Updated by |message: EntityUpdatedEto<_>| message.entity;
    EntityDeletedEto<ProductEto> as Deleted by |message: EntityDeletedEto<_>| message.entity;
    ProductPriceChangedEto as PriceChanged by std::convert::identity;
    StockReservedEto as Reserved by std::convert::identity;
    StockRejectedEto as Rejected by std::convert::identity;
}

impl Ordering {
    /// Hears all that is said once this returns.
    pub(crate) async fn start(servers: &Servers) -> Self {
        let pool = servers.database.pool("ordering").await;
        event_bus::migrate(&pool).await.expect("the bus's tables");
        let rabbitmq = RabbitMq::new(&servers.broker.url()).expect("an AMQP address");
        let shutdown = CancellationToken::new();
        let ears = Ears::default();
        let bus = EventBus::builder("ordering", pool, rabbitmq)
            // One worker keeps the order in which messages come.
            .settings(BusSettings {
                workers: 1,
                ..BusSettings::default()
            })
            .handle::<EntityCreatedEto<ProductEto>, _>(ears.clone())
            .handle::<EntityUpdatedEto<ProductEto>, _>(ears.clone())
            .handle::<EntityDeletedEto<ProductEto>, _>(ears.clone())
            .handle::<ProductPriceChangedEto, _>(ears.clone())
            .handle::<StockReservedEto, _>(ears.clone())
            .handle::<StockRejectedEto, _>(ears.clone())
            .start(shutdown.clone())
            .await
            .expect("handlers that can be told apart");
        eventually("ordering hears the catalog", SOON, async || {
            let bindings = servers.broker.bindings("ordering").await;
            // One for each of the messages above, and the default exchange's.
            (bindings.len() >= 7).then_some(())
        })
        .await;
        Self {
            bus,
            ears,
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// Places orders, all in one commit.
    pub(crate) async fn place(&self, orders: &[OrderPlacedEto]) {
        let mut work = self.bus.begin().await.expect("a unit of work");
        for order in orders {
            work.publish(order).expect("an order as JSON");
        }
        work.commit().await.expect("a commit");
    }

    /// Asks for the stock of orders back, all in one commit.
    pub(crate) async fn release(&self, orders: &[Uuid]) {
        let mut work = self.bus.begin().await.expect("a unit of work");
        for &order_id in orders {
            let command = ReleaseStock { order_id };
            work.send(&command).expect("a command as JSON");
        }
        work.commit().await.expect("a commit");
    }

    /// What was heard until now.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.ears.0.lock().expect("no panic while locked").clone()
    }

    /// What was heard until now about orders.
    pub(crate) fn answers(&self) -> Vec<Heard> {
        let mut heard = self.heard();
        heard.retain(|heard| heard.order().is_some());
        heard
    }

    /// The answers to these orders, as soon as each has at least one.
    pub(crate) async fn answers_to(&self, orders: &[OrderPlacedEto]) -> Vec<Heard> {
        eventually("each order is answered", SOON, async || {
            let answers = self.answers();
            orders
                .iter()
                .all(|order| answers.iter().any(|a| a.order() == Some(order.order_id)))
                .then_some(answers)
        })
        .await
    }

    /// What was heard, as soon as it is this much.
    pub(crate) async fn wait_for_heard(&self, messages: usize) -> Vec<Heard> {
        let what = format!("ordering has heard {messages} messages");
        eventually(&what, SOON, async || {
            let heard = self.heard();
            (heard.len() >= messages).then_some(heard)
        })
        .await
    }
}
