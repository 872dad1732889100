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

/// Something that is asked and answered while the asker waits: see [`Request`](crate::Request).
///
/// A query changes nothing, so it needs no unit of work, is not kept and is not tried again.
#[derive(Debug)]
pub enum Query {}

/// The kinds of message: [`Event`], [`Command`] and [`Query`].
///
/// The kind decides which verb takes a message: `publish` or `send` of a unit of work, or
/// `request` of the bus, so that confusing them does not compile.
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
    /// See [`Query`].
    Query,
}

/// A kind of message that is handed over and kept until it is handled: [`Event`] or [`Command`].
pub trait Posted: MessageKind {}

impl Posted for Event {}
impl Posted for Command {}

impl MessageKind for Event {
    const KIND: Kind = Kind::Event;
}

impl MessageKind for Command {
    const KIND: Kind = Kind::Command;
}

impl MessageKind for Query {
    const KIND: Kind = Kind::Query;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Event {}
    impl Sealed for super::Command {}
    impl Sealed for super::Query {}
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
    /// [`Event`], [`Command`] or [`Query`].
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
