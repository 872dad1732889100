//! What ordering publishes.

use event_bus::Message;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An order was placed and waits for stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.placed", mandatory, key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlacedEto {
    /// The order.
    pub order_id: Uuid,
    /// The name given for it.
    pub customer_name: String,
    /// Who ordered, if they were signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// How many.
    pub quantity: u32,
}

/// An order has its stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.confirmed", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderConfirmedEto {
    /// The order.
    pub order_id: Uuid,
    /// Who ordered, if they were signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// How many.
    pub quantity: u32,
    /// What it costs altogether, after discount.
    pub total: Decimal,
}

/// An order gets no stock and is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.rejected", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderRejectedEto {
    /// The order.
    pub order_id: Uuid,
    /// Who ordered, if they were signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// How many.
    pub quantity: u32,
    /// Why, as a stable word: `out_of_stock`, `unknown_product`.
    pub reason: String,
}

/// An order was called off and is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.cancelled", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderCancelledEto {
    /// The order.
    pub order_id: Uuid,
    /// Who ordered, if they were signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// How many.
    pub quantity: u32,
    /// Why, as a stable word: `requested`, `confirmation_timeout`.
    pub reason: String,
}

/// An order that has not been shipped became cheaper, because its product did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.discounted", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderDiscountedEto {
    /// The order.
    pub order_id: Uuid,
    /// Who ordered, if they were signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// What the order is reduced by altogether.
    pub discount: Decimal,
    /// What it costs altogether, after discount.
    pub total: Decimal,
}
