//! What can travel over the bus: plain data with a name, a version and a kind.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decode::UpcastError;

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

/// A message: plain data that is serialized as JSON and travels under a stable name.
///
/// `#[derive(Message)]` (feature `derive`) implements it from an attribute; this is the same by
/// hand:
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
    /// adding an optional field does not raise it. [`upcast`](Self::upcast) says how to raise it.
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

    /// Brings the body of an older version into the present shape.
    ///
    /// It is called before a body of a version below [`VERSION`](Self::VERSION) is read, and for
    /// no other; a message in the present version is not looked at twice. By default the body is
    /// taken as it is.
    ///
    /// # Raising a version
    ///
    /// 1. Change the struct and raise `VERSION` by one.
    /// 2. Write here what makes the last shape of the one before it, as one step of a chain: each
    ///    step knows two versions and no more, and is never touched again.
    /// 3. Keep a body of the old version in a file, and read it in a test with
    ///    [`Envelope::decode`](crate::Envelope::decode).
    /// 4. Deploy those who handle the message before those who publish it. A handler that is older
    ///    than a message keeps it among the dead letters, as `newer_version`, and does not guess.
    ///    Messages of older versions may wait in outboxes and queues for as long as those do, so a
    ///    step is removed when none can be left.
    ///
    /// A price without a currency came first, then one amount in euros, and now any currency:
    ///
    /// ```
    /// use event_bus::{Event, Message, UpcastError};
    /// use serde_json::{Value, json};
    ///
    /// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    /// struct PriceChanged {
    ///     amount: String,
    ///     currency: String,
    /// }
    ///
    /// impl Message for PriceChanged {
    ///     type Kind = Event;
    ///     const NAME: &'static str = "catalog.price.changed";
    ///     const VERSION: u32 = 3;
    ///
    ///     fn upcast(version: u32, mut body: Value) -> Result<Value, UpcastError> {
    ///         if version < 2 {
    ///             body = cents_to_euros(&body)?;
    ///         }
    ///         if version < 3 {
    ///             body = euros_to_any_currency(&body);
    ///         }
    ///         Ok(body)
    ///     }
    /// }
    ///
    /// /// 1 → 2: `{"cents": 1990}` became `{"euros": "19.90"}`.
    /// fn cents_to_euros(body: &Value) -> Result<Value, UpcastError> {
    ///     let cents = body["cents"].as_u64().ok_or(UpcastError::new("there are no cents"))?;
    ///     Ok(json!({ "euros": format!("{}.{:02}", cents / 100, cents % 100) }))
    /// }
    ///
    /// /// 2 → 3: `{"euros": "19.90"}` became `{"amount": "19.90", "currency": "EUR"}`.
    /// fn euros_to_any_currency(body: &Value) -> Value {
    ///     json!({ "amount": body["euros"], "currency": "EUR" })
    /// }
    ///
    /// let price = json!({ "amount": "19.90", "currency": "EUR" });
    /// assert_eq!(PriceChanged::upcast(1, json!({ "cents": 1990 }))?, price);
    /// assert_eq!(PriceChanged::upcast(2, json!({ "euros": "19.90" }))?, price);
    /// # Ok::<(), UpcastError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the body is not what its version promises. The message goes to the dead letters as
    /// `malformed`.
    fn upcast(version: u32, body: Value) -> Result<Value, UpcastError> {
        let _ = version;
        Ok(body)
    }

    /// The JSON Schema of the body, for documents.
    ///
    /// For a type that has one, [`json_schema!`](crate::json_schema) in the `impl` is all there is
    /// to write.
    #[cfg(feature = "schemars")]
    fn schema(generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
        let _ = generator;
        None
    }
}
