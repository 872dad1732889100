//! JSON Schemas of messages.

/// In the `impl` of [`Message`](crate::Message) or [`EntityEto`](crate::EntityEto) for a type that
/// derives [`JsonSchema`](schemars::JsonSchema): gives the type's schema as the message's.
///
/// ```
/// use event_bus::{Event, Message};
/// use schemars::{JsonSchema, SchemaGenerator};
///
/// #[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
/// struct OrderPlaced {
///     order_id: uuid::Uuid,
/// }
///
/// impl Message for OrderPlaced {
///     type Kind = Event;
///     const NAME: &'static str = "ordering.order.placed";
///     event_bus::json_schema!();
/// }
///
/// assert!(OrderPlaced::schema(&mut SchemaGenerator::default()).is_some());
/// ```
#[macro_export]
macro_rules! json_schema {
    () => {
        fn schema(
            generator: &mut $crate::schemars::SchemaGenerator,
        ) -> Option<$crate::schemars::Schema> {
            Some(generator.subschema_for::<Self>())
        }
    };
}
