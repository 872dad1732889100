//! What was decided about the stock of an order.

use std::num::NonZeroU32;

use uuid::Uuid;

use crate::products::ProductId;

/// Identifies an order of another service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct OrderId(pub Uuid);

/// An order that wants its stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockRequest {
    /// The order.
    pub order: OrderId,
    /// What it wants.
    pub product: ProductId,
    /// How many of it.
    pub quantity: NonZeroU32,
}

/// Where the reservation of an order stands.
///
/// An order is decided about once: what is refused or released stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ReservationState {
    /// Stock is set aside: the reservation is open.
    Reserved,
    /// Refused: there were fewer than were asked for.
    OutOfStock,
    /// Refused: there was no such product.
    UnknownProduct,
    /// The order needs no stock any more. If it had any, that was given back.
    Released,
}

/// The stock that an open reservation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The product.
    pub product: ProductId,
    /// How many of it.
    pub quantity: i64,
}
