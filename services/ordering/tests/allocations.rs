//! A gate for the cost of showing orders that a busy machine can't trip: how much is allocated for
//! one. The bus has its own, in `crates/event-bus/tests/allocations.rs`.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

use ordering::orders::{CustomerName, Draft, Order, OrderBody, Quantity};
use ordering::products::Product;
use ordering::{CustomerId, Money, ProductId};
use uuid::Uuid;

/// The most that may be allocated for the JSON of one order, in the profile that tests are built
/// with. Measured: 4.00 blocks, 908 bytes, the same each time. Half a block more is allowed, so that
/// a single new one is noticed, and a tenth more bytes.
const BLOCKS: f64 = 4.5;
const BYTES: f64 = 1000.0;

const ORDERS: u32 = 100;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn order() -> Order {
    let price = "19.90".parse().expect("a number");
    let product = Product {
        id: ProductId(Uuid::now_v7()),
        name: "Lamp with a shade of paper".to_owned(),
        price: Money::price(price).expect("a price"),
        version: 1,
        deleted: false,
    };
    let draft = Draft {
        customer_name: CustomerName::parse("Ada Lovelace").expect("a name"),
        customer_id: Some(CustomerId(Uuid::now_v7())),
        product_id: product.id,
        quantity: Quantity::new(3).expect("a quantity"),
    };
    Order::place(draft, &product)
}

/// Alone in its file: what another test in the process allocates would be counted, too.
#[test]
fn the_json_of_an_order_allocates_no_more_than_its_bound() {
    let orders: Vec<_> = (0..ORDERS).map(|_| order()).collect();
    let _profiler = dhat::Profiler::builder().testing().build();
    for order in orders {
        serde_json::to_vec(&OrderBody::from(order)).expect("it is JSON");
    }
    let allocated = dhat::HeapStats::get();
    let blocks = allocated.total_blocks as f64 / f64::from(ORDERS);
    let bytes = allocated.total_bytes as f64 / f64::from(ORDERS);
    println!("the JSON of an order: {blocks:.2} blocks, {bytes:.0} bytes");
    assert!(
        blocks <= BLOCKS && bytes <= BYTES,
        "the JSON of an order allocates {blocks:.2} blocks and {bytes:.0} bytes. At most {BLOCKS} \
         and {BYTES} may be: that is {:+.2} blocks and {:+.0} bytes. Find out what is new by \
         running it under `dhat::Profiler::new_heap()`, which writes down who allocates. If it is \
         worth its price, raise the bound, and say so in the commit.",
        blocks - BLOCKS,
        bytes - BYTES,
    );
}
