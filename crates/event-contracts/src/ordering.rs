//! The messages that ordering publishes.

use event_bus::Message;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An order was placed and waits for its stock reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.placed", mandatory, key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlacedEto {
    /// The order.
    pub order_id: Uuid,
    /// The customer's name, as given with the order.
    pub customer_name: String,
    /// The customer's user id, if the customer was signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// Number of units.
    pub quantity: u32,
}

/// An order was confirmed, because its stock is reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.confirmed", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderConfirmedEto {
    /// The order.
    pub order_id: Uuid,
    /// The customer's user id, if the customer was signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// Number of units.
    pub quantity: u32,
    /// Total price of the order, after discount.
    pub total: Decimal,
}

/// An order was rejected, because its stock could not be reserved. This state is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.rejected", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderRejectedEto {
    /// The order.
    pub order_id: Uuid,
    /// The customer's user id, if the customer was signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// Number of units.
    pub quantity: u32,
    /// The reason as a stable code: `out_of_stock`, `unknown_product`.
    pub reason: String,
}

/// An order was cancelled. This state is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.cancelled", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderCancelledEto {
    /// The order.
    pub order_id: Uuid,
    /// The customer's user id, if the customer was signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// Number of units.
    pub quantity: u32,
    /// The reason as a stable code: `requested`, `confirmation_timeout`.
    pub reason: String,
}

/// The price of an order that has not shipped was reduced, because its product became cheaper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.discounted", key = order_id, schema)]
#[serde(rename_all = "camelCase")]
pub struct OrderDiscountedEto {
    /// The order.
    pub order_id: Uuid,
    /// The customer's user id, if the customer was signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Uuid>,
    /// The product.
    pub product_id: Uuid,
    /// Total discount on the order.
    pub discount: Decimal,
    /// Total price of the order, after discount.
    pub total: Decimal,
}
