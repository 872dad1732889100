//! For tests of programs that use the bus.
//!
//! | to test | use |
//! | --- | --- |
//! | one handler that only publishes | [`handle`] |
//! | several handlers, or several services, that only publish | [`TestBus`] |
//! | handlers with SQL | a real [`EventBus`](crate::EventBus) with its PostgreSQL, over a [`TestTransport`] |
//!
//! The first two need neither a database nor a broker, and handle nothing behind the test's back.
//! The third keeps everything as it is in production but the way, which a test can watch, and make
//! fail where a network does.
//!
//! ```
//! use std::time::Duration;
//! use event_bus::{Event, Handler, HandlerError, Message, Received, UnitOfWork};
//! use event_bus::testing::TestBus;
//! # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
//! # struct OrderPlaced { order: u32 }
//! # impl Message for OrderPlaced { type Kind = Event; const NAME: &'static str = "shop.order.placed"; }
//! # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
//! # struct StockReserved { order: u32 }
//! # impl Message for StockReserved { type Kind = Event; const NAME: &'static str = "stock.reserved"; }
//!
//! struct ReserveStock;
//!
//! impl Handler<OrderPlaced> for ReserveStock {
//!     async fn handle(&self, placed: Received<OrderPlaced>, work: &mut UnitOfWork) -> Result<(), HandlerError> {
//!         work.publish(&StockReserved { order: placed.order })?;
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let bus = TestBus::builder("stock").handle::<OrderPlaced, _>(ReserveStock).start();
//! bus.publish(&OrderPlaced { order: 7 });
//! bus.wait_until_idle(Duration::from_secs(1)).await;
//!
//! assert_eq!(bus.published::<StockReserved>(), [StockReserved { order: 7 }]);
//! assert!(bus.failures().is_empty());
//! # }
//! ```

mod alone;
mod bus;
mod deliveries;
mod faults;
mod idle;
mod messages;
mod record;
mod transport;

pub use alone::{Outcome, handle};
pub use bus::{Failure, TestBus, TestBusBuilder};
pub use transport::TestTransport;
