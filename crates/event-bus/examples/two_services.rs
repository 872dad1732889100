//! Two services in one file, with no server at all: `cargo run --example two_services`.
//!
//! The shop places an order, the stock sets pieces aside for it or says that it can't, and the shop
//! hears what became of it. Neither knows the other: what they share is the three messages.
//!
//! The bus is the one of the test kit, so that the example runs anywhere. On a real one the same
//! handlers keep their state in PostgreSQL, within the unit of work: see `postgres_rabbitmq.rs`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_bus::testing::TestBus;
use event_bus::{Event, Handler, HandlerError, Message, Received, UnitOfWork};
use serde::{Deserialize, Serialize};

// What the services say to each other.

#[derive(Debug, Serialize, Deserialize)]
struct OrderPlaced {
    order: u32,
    pieces: u32,
}

impl Message for OrderPlaced {
    type Kind = Event;
    const NAME: &'static str = "shop.order.placed";
    /// It starts work that must be done.
    const MUST_BE_HEARD: bool = true;
}

#[derive(Debug, Serialize, Deserialize)]
struct StockReserved {
    order: u32,
    left: u32,
}

impl Message for StockReserved {
    type Kind = Event;
    const NAME: &'static str = "stock.reserved";
}

#[derive(Debug, Serialize, Deserialize)]
struct StockShort {
    order: u32,
}

impl Message for StockShort {
    type Kind = Event;
    const NAME: &'static str = "stock.short";
}

// The stock.

struct ReserveStock {
    pieces: Arc<Mutex<u32>>,
}

impl Handler<OrderPlaced> for ReserveStock {
    async fn handle(
        &self,
        placed: Received<OrderPlaced>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let order = placed.order;
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        match pieces.checked_sub(placed.pieces) {
            Some(left) => {
                work.publish(&StockReserved { order, left })?;
                *pieces = left;
            }
            None => work.publish(&StockShort { order })?,
        }
        Ok(())
    }
}

// The shop. One type may handle many messages.

struct NoteOutcome;

impl Handler<StockReserved> for NoteOutcome {
    async fn handle(
        &self,
        reserved: Received<StockReserved>,
        _: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let (order, source, left) = (reserved.order, reserved.source(), reserved.left);
        println!("shop: order {order} is confirmed by {source}, which has {left} left");
        Ok(())
    }
}

impl Handler<StockShort> for NoteOutcome {
    async fn handle(
        &self,
        short: Received<StockShort>,
        _: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let (order, source) = (short.order, short.source());
        println!("shop: order {order} is rejected by {source}");
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let pieces = Arc::new(Mutex::new(5));
    let bus = TestBus::builder("shop")
        .handle::<StockReserved, _>(NoteOutcome)
        .handle::<StockShort, _>(NoteOutcome)
        .participant("stock")
        .handle::<OrderPlaced, _>(ReserveStock { pieces })
        .start();

    for (order, pieces) in [(1, 3), (2, 4), (3, 2)] {
        println!("shop: order {order} over {pieces} pieces is placed");
        bus.publish(&OrderPlaced { order, pieces });
    }
    bus.wait_until_idle(Duration::from_secs(1)).await;
}
