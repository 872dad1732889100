//! The messages that catalog publishes, and the commands that it handles.

use event_bus::{EntityEto, Message};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The public data of a product. It excludes the stock, so a reservation changes no product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductEto {
    /// Identifies the product.
    pub id: Uuid,
    /// Name of the product.
    pub name: String,
    /// Description in a few sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Price of one unit, with two decimal places.
    pub price: Decimal,
    /// The day on which the product is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_date: Option<jiff::civil::Date>,
    /// Increases with every change.
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

/// The price of a product changed to a different value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "catalog.product.price_changed", key = product_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct ProductPriceChangedEto {
    /// The product.
    pub product_id: Uuid,
    /// The price before the change.
    pub old_price: Decimal,
    /// The price after the change.
    pub new_price: Decimal,
}

/// Stock was reserved for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "catalog.stock.reserved", mandatory, key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct StockReservedEto {
    /// The order that the stock is reserved for.
    pub order_id: Uuid,
    /// The product.
    pub product_id: Uuid,
    /// Number of units.
    pub quantity: u32,
}

/// Stock could not be reserved for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "catalog.stock.rejected", mandatory, key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct StockRejectedEto {
    /// The order that gets no stock.
    pub order_id: Uuid,
    /// The product.
    pub product_id: Uuid,
    /// Number of units requested.
    pub quantity: u32,
    /// Why the stock could not be reserved.
    pub reason: StockRejection,
}

/// Why stock could not be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StockRejection {
    /// Fewer units are available than were requested.
    OutOfStock,
    /// The product does not exist, or no longer exists.
    UnknownProduct,
}

/// Releases the stock reserved for an order, or prevents a later reservation.
///
/// It may be delivered before, after or without the reservation, and more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(command, name = "catalog.release_stock", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStock {
    /// The order that no longer needs stock.
    pub order_id: Uuid,
}
