//! Reading messages back out of their envelopes.

use crate::envelope::Envelope;
use crate::message::{Message, MessageKind as _};

/// The messages of a type among envelopes, in their order.
///
/// # Panics
///
/// If a message of that name is not of that type.
pub(super) fn of_type<'a, M: Message>(envelopes: impl IntoIterator<Item = &'a Envelope>) -> Vec<M> {
    envelopes.into_iter().filter_map(as_type).collect()
}

/// The message, if it is of that type.
pub(super) fn as_type<M: Message>(envelope: &Envelope) -> Option<M> {
    (envelope.kind == M::Kind::KIND && envelope.name == M::NAME).then(|| {
        serde_json::from_slice(&envelope.body)
            .unwrap_or_else(|error| panic!("a message `{}` can't be read: {error}", M::NAME))
    })
}
