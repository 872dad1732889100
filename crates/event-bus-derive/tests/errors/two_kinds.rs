use event_bus::Message;

#[derive(serde::Serialize, serde::Deserialize, Message)]
#[message(event, command, name = "ordering.order.placed")]
struct OrderPlaced {
    order_id: u64,
}

fn main() {}
