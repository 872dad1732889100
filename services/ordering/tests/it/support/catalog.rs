//! Catalog as ordering knows it: a participant of the bus that publishes its events and listens to
//! ordering's, and an integration API.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use event_bus::{Event, EventBus, Handler, HandlerError, Message, RabbitMq, Received, UnitOfWork};
use event_contracts::catalog::{ProductEto, ReleaseStock};
use event_contracts::ordering::{
    OrderCancelledEto, OrderConfirmedEto, OrderDiscountedEto, OrderPlacedEto, OrderRejectedEto,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgPool;
use test_servers::{TestBroker, eventually};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::SOON;

/// A message that reached catalog.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) name: &'static str,
    pub(crate) body: Value,
    pub(crate) id: Uuid,
    pub(crate) trace_id: Option<String>,
    pub(crate) correlation_id: Uuid,
    pub(crate) causation_id: Option<Uuid>,
}

pub(crate) struct Catalog {
    pub(crate) api: IntegrationApi,
    bus: EventBus,
    heard: Ears,
    _shutdown: DropGuard,
}

impl Catalog {
    pub(crate) async fn start(pool: PgPool, broker: &TestBroker) -> Self {
        event_bus::migrate(&pool).await.unwrap();
        let shutdown = CancellationToken::new();
        let ears = Ears::default();
        let transport = RabbitMq::new(&broker.url()).unwrap();
        let bus = EventBus::builder("catalog", pool, transport)
            .handle::<OrderPlacedEto, _>(ears.clone())
            .handle::<OrderConfirmedEto, _>(ears.clone())
            .handle::<OrderRejectedEto, _>(ears.clone())
            .handle::<OrderCancelledEto, _>(ears.clone())
            .handle::<OrderDiscountedEto, _>(ears.clone())
            .handle::<ReleaseStock, _>(ears.clone())
            .start(shutdown.clone())
            .await
            .unwrap();
        eventually("catalog is bound to ordering's events", SOON, async || {
            let bindings = broker.bindings("catalog").await;
            bindings
                .iter()
                .any(|binding| binding.routing_key == ReleaseStock::NAME)
                .then_some(())
        })
        .await;
        Self {
            api: IntegrationApi::start().await,
            bus,
            heard: ears,
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// Publishes events in one unit of work.
    pub(crate) async fn publish<M: Message<Kind = Event>>(
        &self,
        events: impl IntoIterator<Item = M>,
    ) {
        let mut work = self.bus.begin().await.unwrap();
        for event in events {
            work.publish(&event).unwrap();
        }
        work.commit().await.unwrap();
    }

    /// Everything of this kind about an order that has arrived so far.
    pub(crate) fn heard<M: Message>(&self, order_id: &str) -> Vec<Heard> {
        let heard = self.heard.0.lock().unwrap();
        let about = |heard: &&Heard| heard.name == M::NAME && heard.body["orderId"] == order_id;
        heard.iter().filter(about).cloned().collect()
    }

    /// Waits until a message of this kind about an order arrives.
    pub(crate) async fn hears<M: Message>(&self, order_id: &str) -> Heard {
        let what = format!("catalog hears {} about order {order_id}", M::NAME);
        eventually(&what, SOON, async || self.heard::<M>(order_id).pop()).await
    }
}

/// Remembers everything. A message that is handled again after a rolled-back batch is remembered
/// once.
#[derive(Debug, Clone, Default)]
struct Ears(Arc<Mutex<Vec<Heard>>>);

impl<M: Message> Handler<M> for Ears {
    async fn handle(&self, message: Received<M>, _: &mut UnitOfWork) -> Result<(), HandlerError> {
        let mut heard = self.0.lock().unwrap();
        if heard.iter().any(|earlier| earlier.id == message.id()) {
            return Ok(());
        }
        heard.push(Heard {
            name: M::NAME,
            body: serde_json::to_value(&*message)?,
            id: message.id(),
            trace_id: message.trace_id().map(str::to_owned),
            correlation_id: message.correlation_id(),
            causation_id: message.causation_id(),
        });
        Ok(())
    }
}

/// A product as catalog publishes it.
pub(crate) fn product(id: Uuid, name: &str, price: &str, version: i64) -> ProductEto {
    ProductEto {
        id,
        name: name.to_owned(),
        description: None,
        price: price.parse::<Decimal>().unwrap(),
        release_date: None,
        version,
    }
}

/// Catalog's integration API, on a port of its own.
pub(crate) struct IntegrationApi {
    address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    products: Vec<Value>,
    away: bool,
    asked: usize,
}

impl IntegrationApi {
    async fn start() -> Self {
        let shelf = Arc::<Mutex<Shelf>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/integration-api/catalog/product", get(answer))
            .with_state(shelf.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, shelf }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Knows a product from now on.
    pub(crate) fn add(&self, id: Uuid, name: &str, price: &str, version: i64) {
        let product = json!({"id": id, "name": name, "price": price, "version": version});
        self.shelf.lock().unwrap().products.push(product);
    }

    /// Answers with 503, or no longer.
    pub(crate) fn set_away(&self, away: bool) {
        self.shelf.lock().unwrap().away = away;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.shelf.lock().unwrap().asked
    }
}

#[derive(serde::Deserialize)]
struct Ids {
    ids: String,
}

async fn answer(
    State(shelf): State<Arc<Mutex<Shelf>>>,
    Query(query): Query<Ids>,
) -> Result<Json<Vec<Value>>, StatusCode> {
    let mut shelf = shelf.lock().unwrap();
    shelf.asked += 1;
    if shelf.away {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let wanted: Vec<&str> = query.ids.split(',').collect();
    let known = shelf.products.iter();
    let found = known.filter(|product| wanted.iter().any(|id| product["id"] == *id));
    Ok(Json(found.cloned().collect()))
}
