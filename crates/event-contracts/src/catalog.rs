//! What catalog publishes, and what it can be asked for.

use event_bus::{EntityEto, Message};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A product as everybody may know it. Stock is not part of it: a reservation changes no product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductEto {
    /// Identifies the product.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// What it is, in a few sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What one costs, with two decimal places.
    pub price: Decimal,
    /// When it comes, or came, to the market.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_date: Option<jiff::civil::Date>,
    /// Rises with every change.
    pub version: i64,
}

impl EntityEto for ProductEto {
    const CREATED: &'static str = "catalog.product.created";
    const UPDATED: &'static str = "catalog.product.updated";
    const DELETED: &'static str = "catalog.product.deleted";
    const SNAPSHOT: &'static str = "catalog.product.snapshot";

    event_bus::json_schema!();

    fn entity_id(&self) -> Uuid {
        self.id
    }

    fn entity_version(&self) -> i64 {
        self.version
    }
}

/// A product's price has really changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "catalog.product.price_changed", key = product_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct ProductPriceChangedEto {
    /// The product.
    pub product_id: Uuid,
    /// The price until now.
    pub old_price: Decimal,
    /// The price from now on.
    pub new_price: Decimal,
}

/// Stock was set aside for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "catalog.stock.reserved", mandatory, key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct StockReservedEto {
    /// The order it is for.
    pub order_id: Uuid,
    /// The product.
    pub product_id: Uuid,
    /// How many.
    pub quantity: u32,
}

/// No stock could be set aside for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "catalog.stock.rejected", mandatory, key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct StockRejectedEto {
    /// The order that gets nothing.
    pub order_id: Uuid,
    /// The product.
    pub product_id: Uuid,
    /// How many were asked for.
    pub quantity: u32,
    /// Why not.
    pub reason: StockRejection,
}

/// Why stock could not be set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StockRejection {
    /// There are fewer than were asked for.
    OutOfStock,
    /// There is no such product, or no longer.
    UnknownProduct,
}

/// Gives back what was reserved for an order, or makes sure that nothing will be.
///
/// It may come before, after and without the reservation, and more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(command, name = "catalog.release_stock", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStock {
    /// The order that needs no stock any more.
    pub order_id: Uuid,
}
