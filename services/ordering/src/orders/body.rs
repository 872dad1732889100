//! Orders as the API shows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::history::HistoryRow;
use super::{Order, OrderState, Reason, What};
use crate::ids::{CustomerId, OrderId, ProductId};
use crate::money::Money;

/// An order to be placed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewOrder)]
pub(crate) struct NewOrderBody {
    /// The name to order under, 1–120 characters. Required without an access token; with one, the
    /// name in the token is taken and this is ignored.
    #[schema(example = "David", min_length = 1, max_length = 120)]
    pub(crate) customer_name: Option<String>,
    /// The product.
    #[schema(example = "5995897b-1de9-7272-b31c-3a165bbe7b18")]
    pub(crate) product_id: ProductId,
    /// How many, 1–999; 1 if left out.
    #[schema(minimum = 1, maximum = 999, default = 1)]
    pub(crate) quantity: Option<i64>,
}

/// An order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
pub struct OrderBody {
    /// Identifies it.
    id: OrderId,
    /// The name it was placed under, or what the customer is called now.
    customer_name: String,
    /// Who ordered, if they were signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<CustomerId>,
    /// What was ordered.
    product_id: ProductId,
    /// What the product was called when the order was placed.
    product_name: String,
    /// How many.
    quantity: u32,
    /// What one cost when the order was placed.
    #[schema(value_type = String, example = "19.90")]
    unit_price: Money,
    /// What the whole order is reduced by.
    #[schema(value_type = String, example = "0.00")]
    discount: Money,
    /// What it costs altogether, after discount.
    #[schema(value_type = String, example = "19.90")]
    total: Money,
    /// Where it stands.
    state: OrderState,
    /// Why it was rejected or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// Rises with every change; also its `ETag`.
    version: i64,
    /// When it was placed.
    #[schema(value_type = String, format = DateTime)]
    placed_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Order> for OrderBody {
    fn from(order: Order) -> Self {
        Self {
            total: order.total(),
            id: order.id,
            customer_name: order.customer_name.as_str().to_owned(),
            customer_id: order.customer_id,
            product_id: order.product_id,
            product_name: order.product_name,
            quantity: order.quantity.get(),
            unit_price: order.unit_price,
            discount: order.discount,
            state: order.state,
            reason: order.reason,
            version: order.version,
            placed_at: order.placed_at,
            updated_at: order.updated_at,
        }
    }
}

/// Something that happened to an order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HistoryEntry)]
pub struct HistoryBody {
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What happened. `ignored` is a message that does nothing to an order in this state.
    what: What,
    /// The state before; left out where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<OrderState>,
    /// The state after.
    to: OrderState,
    /// By what it happened.
    by: DoneBy,
    /// The trace it belongs to, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

/// By what something happened to an order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[schema(as = HistoryCause)]
pub enum DoneBy {
    /// A message between services.
    Message {
        /// Identifies the message.
        id: Uuid,
        /// The name it travelled under, such as `catalog.stock.reserved`.
        name: String,
    },
    /// Somebody who was signed in.
    User {
        /// Identifies them.
        id: Uuid,
    },
    /// Somebody who was not.
    Guest,
}

impl From<HistoryRow> for HistoryBody {
    fn from(row: HistoryRow) -> Self {
        let by = match (row.message_id, row.message_name, row.user_id) {
            (Some(id), Some(name), _) => DoneBy::Message { id, name },
            (_, _, Some(id)) => DoneBy::User { id },
            _ => DoneBy::Guest,
        };
        Self {
            at: row.at,
            what: row.what,
            from: row.from_state,
            to: row.to_state,
            by,
            trace_id: row.trace_id,
        }
    }
}
