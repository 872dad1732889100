//! One handler by itself.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::messages::{as_type, of_type};
use crate::envelope::{Envelope, Lineage};
use crate::handler::{Handler, HandlerError};
use crate::message::{Command, Event, Message};
use crate::received::Received;
use crate::unit_of_work::UnitOfWork;

/// What a handler did with its unit of work.
#[derive(Debug)]
pub struct Outcome {
    now: Vec<Envelope>,
    later: Vec<(Timestamp, Envelope)>,
}

/// Gives a message to a handler, with a unit of work that has no database.
///
/// ```
/// # use event_bus::{Command, Event, Handler, HandlerError, Message, Received, UnitOfWork};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct PaymentFailed { order: u32 }
/// # impl Message for PaymentFailed { type Kind = Event; const NAME: &'static str = "payment.failed"; }
/// # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// # struct ReleaseStock { order: u32 }
/// # impl Message for ReleaseStock { type Kind = Command; const NAME: &'static str = "stock.release"; }
/// # struct CancelOrder;
/// # impl Handler<PaymentFailed> for CancelOrder {
/// #     async fn handle(&self, failed: Received<PaymentFailed>, work: &mut UnitOfWork) -> Result<(), HandlerError> {
/// #         work.send(&ReleaseStock { order: failed.order })?;
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), HandlerError> {
/// let outcome = event_bus::testing::handle(&CancelOrder, PaymentFailed { order: 7 }).await?;
/// assert_eq!(outcome.sent::<ReleaseStock>(), [ReleaseStock { order: 7 }]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// What the handler returns.
///
/// # Panics
///
/// If the message can't be written as JSON and read again, and if the handler uses SQL.
pub async fn handle<M: Message, H: Handler<M>>(
    handler: &H,
    message: M,
) -> Result<Outcome, HandlerError> {
    let sent = Envelope::encode("test", Lineage::begin(), &message)
        .unwrap_or_else(|error| panic!("{error}"));
    let message = as_type(&sent).unwrap_or(message);
    let mut work = UnitOfWork::detached("test", sent.lineage_of_effects(), HashSet::new());
    handler
        .handle(Received::new(message, Arc::new(sent), 1), &mut work)
        .await?;
    let (now, later, _) = work.into_messages();
    Ok(Outcome { now, later })
}

impl Outcome {
    /// The events of a type that were published, in order.
    ///
    /// # Panics
    ///
    /// As all of these: if a message of that name is not of that type.
    pub fn published<M: Message<Kind = Event>>(&self) -> Vec<M> {
        of_type(&self.now)
    }

    /// The commands of a type that were sent, in order.
    pub fn sent<M: Message<Kind = Command>>(&self) -> Vec<M> {
        of_type(&self.now)
    }

    /// The messages of a type that were scheduled, with their times, in the order of the calls.
    pub fn scheduled<M: Message>(&self) -> Vec<(Timestamp, M)> {
        let later = self.later.iter();
        later
            .filter_map(|(at, envelope)| Some((*at, as_type(envelope)?)))
            .collect()
    }

    /// The names of all messages, those that were scheduled at the end.
    pub fn names(&self) -> Vec<&str> {
        let later = self.later.iter().map(|(_, envelope)| envelope);
        let all = self.now.iter().chain(later);
        all.map(|envelope| envelope.name.as_str()).collect()
    }
}
