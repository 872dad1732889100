//! The catalog service: products, and the stock that orders reserve.
//!
//! [`products`] is what the shop sells and says about it, changed over HTTP; every change is told
//! to the other services by automatic events. [`stock`] is how many there are, changed by orders
//! through messages; that is told to the order alone, since a product is the same however many are
//! left.

mod authorization;
mod demo_data;
pub mod products;
pub mod stock;

use event_bus::{EntityCreatedEto, EntityDeletedEto, EntityUpdatedEto, EventBusBuilder};
use event_contracts::catalog::{
    ProductEto, ProductPriceChangedEto, ReleaseStock, StockRejectedEto, StockReservedEto,
};
use event_contracts::ordering::OrderPlacedEto;
use service_host::{App, Service};
use sqlx::migrate::Migrator;
use utoipa_axum::router::OpenApiRouter;

use authorization::ProductManager;
use stock::{GiveBackStock, ReserveStock};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/catalog");

/// The catalog service.
#[derive(Debug, Clone, Copy)]
pub struct Catalog;

/// Variables of the catalog alone.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Settings {
    /// Whether a dozen products are put in at the first start, so that there is something to order
    #[arg(
        long = "seed-demo-data",
        env = "SEED_DEMO_DATA",
        value_name = "SEED_DEMO_DATA",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub seed_demo_data: bool,
}

impl Service for Catalog {
    const NAME: &'static str = "catalog";
    const ABOUT: &'static str = "Products and their stock.";
    const HTTP_PORT: u16 = 8081;
    type Settings = Settings;
    type State = ();

    fn migrator() -> &'static Migrator {
        &MIGRATOR
    }

    fn handlers(bus: EventBusBuilder, _settings: &Settings) -> EventBusBuilder {
        products::storage::serve_snapshots(bus)
            .handle_batch::<OrderPlacedEto, _>(ReserveStock)
            .handle_batch::<ReleaseStock, _>(GiveBackStock)
            .publishes::<EntityCreatedEto<ProductEto>>()
            .publishes::<EntityUpdatedEto<ProductEto>>()
            .publishes::<EntityDeletedEto<ProductEto>>()
            .publishes::<ProductPriceChangedEto>()
            .publishes::<StockReservedEto>()
            .publishes::<StockRejectedEto>()
    }

    fn routes() -> OpenApiRouter<App<Self>> {
        OpenApiRouter::new()
            .merge(products::routes())
            .merge(stock::http::routes())
    }

    async fn prepare(app: &App<Self>) -> anyhow::Result<()> {
        if app.settings.seed_demo_data {
            demo_data::insert_once(&app.bus).await?;
        }
        Ok(())
    }
}
