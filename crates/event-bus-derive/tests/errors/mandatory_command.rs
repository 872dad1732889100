use event_bus::Message;

#[derive(serde::Serialize, serde::Deserialize, Message)]
#[message(command, name = "ordering.place_order", mandatory)]
struct OrderPlaced {
    order_id: u64,
}

fn main() {}
