//! What can travel over the bus: plain data with a name, a version and a kind.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Something that happened. Any number of services may subscribe to it, or none.
#[derive(Debug)]
pub enum Event {}

/// Something that is asked of exactly one receiver.
///
/// A command that nobody can receive yet stays with its sender until somebody can.
#[derive(Debug)]
pub enum Command {}

/// The two kinds of message: [`Event`] and [`Command`].
///
/// The kind decides which verb of a unit of work takes a message (`publish` or `send`), so that
/// confusing the two does not compile.
pub trait MessageKind: sealed::Sealed + Send + Sync + 'static {
    /// The value that belongs to this type.
    const KIND: Kind;
}

/// [`MessageKind`] as a value, as the envelope and the outbox carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// See [`Event`].
    Event,
    /// See [`Command`].
    Command,
}

impl MessageKind for Event {
    const KIND: Kind = Kind::Event;
}

impl MessageKind for Command {
    const KIND: Kind = Kind::Command;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Event {}
    impl Sealed for super::Command {}
}

/// A message: plain data that is written as JSON under a stable name.
///
/// ```
/// use event_bus::{Event, Message};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct OrderPlaced {
///     order_id: uuid::Uuid,
/// }
///
/// impl Message for OrderPlaced {
///     type Kind = Event;
///     const NAME: &'static str = "ordering.order.placed";
///
///     fn partition_key(&self) -> Option<String> {
///         Some(self.order_id.to_string())
///     }
/// }
/// ```
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// [`Event`] or [`Command`].
    type Kind: MessageKind;

    /// The name the message travels under: the CloudEvents `type` and the routing key.
    ///
    /// Lower case, words separated by dots, the publishing service first:
    /// `ordering.order.placed`.
    const NAME: &'static str;

    /// The version of the body's shape. It rises when an old consumer could not read a new body;
    /// adding an optional field does not raise it.
    const VERSION: u32 = 1;

    /// Whether an event is kept by its publisher until somebody is subscribed to it.
    ///
    /// Set it for an event that starts work which must be done, so that services may be started
    /// in any order. Commands are always kept.
    const MUST_BE_HEARD: bool = false;

    /// Messages with the same key are published in the order their units of work committed.
    ///
    /// Usually the id of the entity that the message is about.
    fn partition_key(&self) -> Option<String> {
        None
    }
}
