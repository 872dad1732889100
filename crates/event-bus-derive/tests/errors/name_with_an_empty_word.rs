use event_bus::Message;

#[derive(serde::Serialize, serde::Deserialize, Message)]
#[message(event, name = "ordering..placed")]
struct OrderPlaced {
    order_id: u64,
}

fn main() {}
