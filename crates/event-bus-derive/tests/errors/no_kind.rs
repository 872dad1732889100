use event_bus::Message;

#[derive(serde::Serialize, serde::Deserialize, Message)]
#[message(name = "ordering.order.placed")]
struct OrderPlaced {
    order_id: u64,
}

fn main() {}
