use event_bus::Message;

#[derive(serde::Serialize, serde::Deserialize, Message)]
#[serde(rename_all = "camelCase")]
struct OrderPlaced {
    order_id: u64,
}

fn main() {}
