//! What users write: handlers, and how they say that one failed.

use std::error::Error;
use std::fmt;

use crate::database_fault::DatabaseFault;
use crate::error_text;
use crate::message::Message;
use crate::received::Received;
use crate::unit_of_work::UnitOfWork;

/// Handles one message at a time.
///
/// Everything the handler does through `work`, and everything it publishes on it, is committed
/// together with the inbox's record that this handler has had this message. So its effect happens
/// once, however often the message is delivered. Effects outside the database do not have that
/// protection.
///
/// One type may handle several messages (an `impl` for each), and one message may have several
/// handlers: they succeed and fail independently.
///
/// A handler runs for up to [`BusSettings::batch`](crate::BusSettings::batch) messages in one
/// transaction. When any of them fails, all are rolled back and run again one by one.
pub trait Handler<M: Message>: Send + Sync + 'static {
    /// Handles the message.
    ///
    /// # Errors
    ///
    /// See [`HandlerError`] for what an error leads to. A panic counts as an error that may pass.
    fn handle(
        &self,
        message: Received<M>,
        work: &mut UnitOfWork,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// The name under which inbox, retries and dead letters know this handler: the type's name.
    ///
    /// Give it a fixed one before renaming the type, or what waits for the old name waits for
    /// ever.
    fn name(&self) -> &'static str {
        short_type_name::<Self>()
    }
}

/// Handles all messages that have arrived at once, for set-based work: one statement for many.
///
/// The messages are in the order of their arrival and none of them has been handled before. If
/// the handler fails, it is called again for each message by itself, so that one bad message
/// fails alone. Within a batch it runs after the handlers of single messages.
pub trait BatchHandler<M: Message>: Send + Sync + 'static {
    /// Handles the messages, of which there is at least one.
    ///
    /// Call [`UnitOfWork::caused_by`] before publishing on behalf of one of them.
    ///
    /// # Errors
    ///
    /// See [`HandlerError`].
    fn handle(
        &self,
        messages: Vec<Received<M>>,
        work: &mut UnitOfWork,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// See [`Handler::name`].
    fn name(&self) -> &'static str {
        short_type_name::<Self>()
    }
}

/// Handles events by the pattern of their names, whatever their types: for audit trails, for
/// forwarding, for contracts this program does not know.
///
/// It gets the body as JSON, in whatever version it came. All else is as with [`Handler`].
pub trait DynamicHandler: Send + Sync + 'static {
    /// Handles the event.
    ///
    /// # Errors
    ///
    /// See [`HandlerError`].
    fn handle(
        &self,
        event: Received<serde_json::Value>,
        work: &mut UnitOfWork,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// See [`Handler::name`].
    fn name(&self) -> &'static str {
        short_type_name::<Self>()
    }
}

/// Why a handler could not do its work.
///
/// Any error becomes one that may pass with `?`: it is tried again, at once and then later, and
/// ends among the dead letters when the [`RetryPolicy`](crate::RetryPolicy) is exhausted. An
/// error that can't pass is made with [`HandlerError::reject`] and goes to the dead letters right
/// away. So does one with a data exception of PostgreSQL among its causes (SQLSTATE class 22, such
/// as a NUL in a text), because the database will never accept those values.
///
/// The texts of an error and its causes are stored and logged. They should not hold anything of the
/// message's body; what `serde_json` and PostgreSQL quote of it is left out.
pub struct HandlerError {
    pub(crate) verdict: Verdict,
    pub(crate) source: Box<dyn Error + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    MayPass,
    Never,
}

impl HandlerError {
    /// The failure may pass: try again.
    pub fn retry(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            verdict: Verdict::MayPass,
            source: source.into(),
        }
    }

    /// Trying again is of no use: to the dead letters.
    pub fn reject(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            verdict: Verdict::Never,
            source: source.into(),
        }
    }

    /// Whether another attempt can't succeed: the handler says so, or the database will never take
    /// the data.
    pub(crate) fn is_final(&self) -> bool {
        self.verdict == Verdict::Never || self.is_refused_data()
    }

    /// Whether the database refuses the data.
    pub(crate) fn is_refused_data(&self) -> bool {
        DatabaseFault::behind(self.source.as_ref()) == Some(DatabaseFault::RefusedData)
    }

    /// The error and its causes, outermost first, without what serde or the database quote of the
    /// data.
    pub(crate) fn reasons(&self) -> Vec<String> {
        error_text::reasons(self.source.as_ref())
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.verdict, self.reasons().join(": "))
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(source: E) -> Self {
        Self::retry(source)
    }
}

/// The last segment of a type's path, without its generic arguments.
pub(crate) fn short_type_name<T: ?Sized>() -> &'static str {
    let path = std::any::type_name::<T>();
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path)
}
