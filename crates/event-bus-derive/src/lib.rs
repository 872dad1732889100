//! `#[derive(Message)]`, which the crate `event-bus` exports with its feature `derive`.

mod attributes;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `event_bus::Message` from the attribute `#[message(…)]`.
///
/// ```
/// use event_bus::Message;
/// use serde::{Deserialize, Serialize};
/// use uuid::Uuid;
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message(event, name = "ordering.order.placed", mandatory, key = order_id)]
/// struct OrderPlaced {
///     order_id: Uuid,
/// }
///
/// assert_eq!(OrderPlaced::NAME, "ordering.order.placed");
/// ```
///
/// | in the attribute | sets |
/// | --- | --- |
/// | `event`, `command` or `query` | `Message::Kind`; required |
/// | `name = "…"` | `Message::NAME`; required: lower-case words separated by dots, at most 255 bytes |
/// | `version = 2` | `Message::VERSION`; 1 if absent |
/// | `mandatory` | the publisher stores the event until a queue is bound for it; events only |
/// | `key = field` | `Message::partition_key`, from the field's `Display` |
/// | `upcast = path` | `Message::upcast`, a function of the same signature; needs a version above 1 |
/// | `schema` | `Message::schema`, from the type's `JsonSchema` |
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let expanded = attributes::MessageAttributes::of(&input)
        .and_then(|attributes| expand::message(&input, &attributes));
    expanded
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
