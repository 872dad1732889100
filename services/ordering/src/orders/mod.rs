//! Orders: taking them, following them through their states, showing them.

mod access;
mod backpressure;
mod body;
mod customer_name;
mod discounting;
mod handlers;
mod history;
mod http;
mod messages;
mod order;
mod placing;
mod price_drop;
mod quantity;
mod renaming;
mod state;
mod storage;
mod transitions;

pub use body::{DoneBy, HistoryBody, OrderBody};
pub use customer_name::{CustomerName, NoName};
pub use history::{Cause, Origin, What};
pub use messages::ConfirmationDue;
pub use order::{Draft, Order};
pub use price_drop::{NoPercentage, PriceDropThreshold};
pub use quantity::{OutOfRange, Quantity};
pub use state::{OrderState, Reason, Trigger};

pub(crate) use handlers::{CancelOverdueOrders, ConfirmOrders, DiscountOrders, RejectOrders};
pub(crate) use http::routes;

pub(crate) use placing::PlacingDesk;
pub(crate) use renaming::{remove_name, rename_open};
