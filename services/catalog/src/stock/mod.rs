//! Stock: what is set aside for orders, given back, and restocked.
//!
//! A reservation is *open* from the moment stock is set aside until it is released. Shipping an
//! order will close it too, once catalog hears of that; until then a shipped order's reservation
//! stays open.

mod allocation;
mod handlers;
pub(crate) mod http;
mod release;
mod reservation;
mod stock_count;
pub(crate) mod storage;

pub(crate) use handlers::{GiveBackStock, ReserveStock};
pub use {
    allocation::Allocation,
    release::Release,
    reservation::{Held, OrderId, ReservationState, StockRequest},
    stock_count::{OutOfRange, Restock, StockCount},
};
