//! Ordering: takes orders, follows them through their states, and keeps copies of what it needs to
//! know of products and customers.
//!
//! An order is taken without asking anybody: its price comes from the replica of products. Whether
//! there is stock, catalog says later, by message.

mod customers;
mod ids;
mod money;
pub mod orders;
pub mod products;
mod settings;

use event_bus::EventBusBuilder;
use event_contracts::catalog::{
    ProductPriceChangedEto, ReleaseStock, StockRejectedEto, StockReservedEto,
};
use event_contracts::ordering::{
    OrderCancelledEto, OrderConfirmedEto, OrderDiscountedEto, OrderPlacedEto, OrderRejectedEto,
};
use service_host::Service;
use sqlx::migrate::Migrator;
use utoipa_axum::router::OpenApiRouter;

pub use ids::{CustomerId, OrderId, ProductId};
pub use money::{Money, NotMoney};
pub use settings::Settings;

use customers::CustomerReplica;
use orders::{
    CancelOverdueOrders, ConfirmOrders, ConfirmationDue, DiscountOrders, PlacingDesk, RejectOrders,
};
use products::{Catalog, ProductReplica};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/ordering");

/// The running service, as its handlers see it.
type App = service_host::App<Ordering>;

/// The ordering service.
#[derive(Debug)]
pub enum Ordering {}

/// What ordering keeps in memory.
#[derive(Debug, Default)]
pub struct State {
    desk: PlacingDesk,
    catalog: Catalog,
}

impl Service for Ordering {
    const NAME: &'static str = "ordering";
    const ABOUT: &'static str = "Takes orders and follows them through their states.";
    const HTTP_PORT: u16 = 8082;
    type Settings = Settings;
    type State = State;

    fn migrator() -> &'static Migrator {
        &MIGRATOR
    }

    fn handlers(bus: EventBusBuilder, settings: &Settings) -> EventBusBuilder {
        let threshold = settings.price_drop_threshold;
        bus.handle_batch::<StockReservedEto, _>(ConfirmOrders)
            .handle_batch::<StockRejectedEto, _>(RejectOrders)
            .handle_batch::<ConfirmationDue, _>(CancelOverdueOrders)
            .handle::<ProductPriceChangedEto, _>(DiscountOrders { threshold })
            .replica(ProductReplica)
            .replica(CustomerReplica)
            .publishes::<OrderPlacedEto>()
            .publishes::<OrderConfirmedEto>()
            .publishes::<OrderRejectedEto>()
            .publishes::<OrderCancelledEto>()
            .publishes::<OrderDiscountedEto>()
            .publishes::<ReleaseStock>()
            .publishes::<ConfirmationDue>()
    }

    fn routes() -> OpenApiRouter<App> {
        orders::routes()
    }
}
