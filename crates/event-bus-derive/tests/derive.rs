//! What the derived `impl` says, and what the compiler says of a mistake.

use event_bus::{Message, MessageKind, UpcastError};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Debug, Serialize, Deserialize, JsonSchema, Message)]
#[message(event, name = "ordering.order.placed", version = 2)]
#[message(mandatory, key = order_id, upcast = name_the_order, schema)]
struct OrderPlaced {
    order_id: Uuid,
}

/// Version 1 had the id under another name.
fn name_the_order(_version: u32, mut body: Value) -> Result<Value, UpcastError> {
    Ok(json!({ "order_id": body["id"].take() }))
}

#[derive(Serialize, Deserialize, Message)]
#[message(command, name = "catalog.release_stock")]
enum ReleaseStock {
    All,
}

#[derive(Serialize, Deserialize, Message)]
#[message(query, name = "catalog.get")]
struct Get<T: Send + Sync + 'static>
where
    T: Serialize + for<'a> Deserialize<'a>,
{
    #[serde(bound(deserialize = "T: Serialize + for<'a> Deserialize<'a>"))]
    of: T,
}

const fn kind_of<M: Message>() -> event_bus::Kind {
    <M::Kind as MessageKind>::KIND
}

#[test]
fn every_part_of_the_attribute_is_in_the_implementation() {
    assert_eq!(kind_of::<OrderPlaced>(), event_bus::Kind::Event);
    assert_eq!(OrderPlaced::NAME, "ordering.order.placed");
    assert_eq!(OrderPlaced::VERSION, 2);
    const { assert!(OrderPlaced::MUST_BE_HEARD) };
    let order_id = Uuid::from_u128(7);
    let placed = OrderPlaced { order_id };
    assert_eq!(placed.partition_key(), Some(order_id.to_string()));
    let upcast = OrderPlaced::upcast(1, json!({ "id": order_id })).expect("it can be upcast");
    assert_eq!(upcast, json!({ "order_id": order_id }));
    assert!(OrderPlaced::schema(&mut SchemaGenerator::default()).is_some());
}

#[test]
fn what_the_attribute_leaves_out_has_its_default() {
    assert_eq!(kind_of::<ReleaseStock>(), event_bus::Kind::Command);
    assert_eq!(ReleaseStock::VERSION, 1);
    const { assert!(!ReleaseStock::MUST_BE_HEARD) };
    assert_eq!(ReleaseStock::All.partition_key(), None);
    assert!(ReleaseStock::schema(&mut SchemaGenerator::default()).is_none());
}

#[test]
fn a_generic_type_is_a_message_for_all_its_parameters() {
    assert_eq!(kind_of::<Get<Uuid>>(), event_bus::Kind::Query);
    let get = Get { of: Uuid::nil() };
    assert_eq!(get.of, Uuid::nil());
    assert_eq!(Get::<String>::NAME, "catalog.get");
}

#[test]
fn a_mistake_is_named_where_it_was_made() {
    trybuild::TestCases::new().compile_fail("tests/errors/*.rs");
}
