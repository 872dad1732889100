//! Which message a confirm is for, and which one a return.
//!
//! The broker returns an unroutable message before it confirms it. The client hands a return to
//! whichever confirm it resolves next, and with confirms of many messages in one frame that can be
//! the confirm of another message. So returns are told apart by message id, and batches are settled
//! in the order in which they were published: when all confirms up to the end of a batch are in,
//! so are all returns of it.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::{Channel, Confirmation, ErrorKind, PublisherConfirm};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::transport::{Refusal, RefusalScope, Settlement};

/// What was handed to the client, or why it was not.
pub(super) type Sent = lapin::Result<PublisherConfirm>;

/// Takes the batches of one channel, in the order of their publishing.
#[derive(Debug, Clone)]
pub(super) struct Confirms {
    batches: mpsc::UnboundedSender<Batch>,
    refused: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Batch {
    messages: Vec<(Uuid, Awaited)>,
    answer: oneshot::Sender<Vec<Settlement>>,
}

/// What is known of a message.
#[derive(Debug)]
enum Awaited {
    Confirm(PublisherConfirm),
    /// Why it was not confirmed; `None` if it was.
    Known(Option<Settlement>),
}

impl Confirms {
    /// Starts with a new channel. Ends when it is dropped and all batches are settled; the channel
    /// stays open until then.
    pub(super) fn start(channel: Channel) -> Self {
        let (sender, batches) = mpsc::unbounded_channel();
        let settling = Settling::default();
        let refused = settling.refused.clone();
        tokio::spawn(async move {
            settling.run(batches).await;
            drop(channel);
        });
        Self {
            batches: sender,
            refused,
        }
    }

    /// Whether the broker has refused a message on the channel.
    pub(super) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Resolves when each message of the batch is settled.
    pub(super) fn settle(
        &self,
        messages: impl IntoIterator<Item = (Uuid, Sent)>,
    ) -> BoxFuture<'static, Vec<Settlement>> {
        let messages: Vec<_> = messages
            .into_iter()
            .map(|(id, sent)| match sent {
                Ok(confirm) => (id, Awaited::Confirm(confirm)),
                Err(error) => (id, Awaited::Known(Some(not_confirmed(&error)))),
            })
            .collect();
        let count = messages.len();
        let (answer, answered) = oneshot::channel();
        // It listens as long as there is a sender; were it gone, nobody would answer.
        let _ = self.batches.send(Batch { messages, answer });
        async move {
            let unanswered = || vec![Settlement::Failed("the channel is gone".to_owned()); count];
            answered.await.unwrap_or_else(|_| unanswered())
        }
        .boxed()
    }
}

#[derive(Default)]
struct Settling {
    /// Batches behind the one that is being settled.
    behind: VecDeque<Batch>,
    /// Ids of messages that came back.
    returned: HashSet<Uuid>,
    refused: Arc<AtomicBool>,
}

impl Settling {
    async fn run(mut self, mut batches: mpsc::UnboundedReceiver<Batch>) {
        loop {
            let mut batch = match self.behind.pop_front() {
                Some(batch) => batch,
                None => match batches.recv().await {
                    Some(batch) => batch,
                    None => return,
                },
            };
            // From the last one: when it is in, so are nearly always the others, and this task is
            // woken once and not for each of them.
            for (_, awaited) in batch.messages.iter_mut().rev() {
                if let Awaited::Confirm(confirm) = awaited {
                    let confirmation = confirm.await;
                    *awaited = Awaited::Known(self.note(confirmation));
                }
            }
            while let Ok(next) = batches.try_recv() {
                self.behind.push_back(next);
            }
            self.note_what_is_known();
            self.answer(batch);
        }
    }

    /// Takes what has come for the batches behind, since a return may have come with it.
    fn note_what_is_known(&mut self) {
        let mut behind = std::mem::take(&mut self.behind);
        for (_, awaited) in behind.iter_mut().flat_map(|batch| &mut batch.messages) {
            if let Awaited::Confirm(confirm) = awaited
                && let Some(confirmation) = confirm.now_or_never()
            {
                *awaited = Awaited::Known(self.note(confirmation));
            }
        }
        self.behind = behind;
    }

    /// Why the message was not confirmed; `None` if it was. Takes note of the return that came
    /// along.
    fn note(&mut self, confirmation: lapin::Result<Confirmation>) -> Option<Settlement> {
        let failure = match &confirmation {
            Ok(Confirmation::Ack(_)) => None,
            Ok(Confirmation::Nack(_)) => {
                self.refused.store(true, Ordering::Relaxed);
                Some(nacked())
            }
            Ok(Confirmation::NotRequested) => {
                Some(Settlement::Failed("not in confirm mode".to_owned()))
            }
            Err(error) => Some(not_confirmed(error)),
        };
        if let Some(returned) = confirmation.ok().and_then(Confirmation::take_message) {
            let id = returned.delivery.properties.message_id().as_ref();
            self.returned
                .extend(id.and_then(|id| Uuid::parse_str(id.as_str()).ok()));
        }
        failure
    }

    fn answer(&mut self, batch: Batch) {
        let settled = batch.messages.into_iter().map(|(id, awaited)| {
            let returned = self.returned.remove(&id);
            match awaited {
                Awaited::Known(Some(settlement)) => settlement,
                Awaited::Known(None) if returned => Settlement::Unroutable,
                Awaited::Known(None) => Settlement::Confirmed,
                Awaited::Confirm(_) => Settlement::Failed("nothing was heard of it".to_owned()),
            }
        });
        // Whoever asked may have gone, at a shutdown.
        let _ = batch.answer.send(settled.collect());
    }
}

fn nacked() -> Settlement {
    Settlement::Refused(Refusal {
        error: Cow::Borrowed("nacked"),
        reason: "the broker rejected the message (basic.nack): a queue bound for it is full or \
                 unavailable"
            .to_owned(),
        scope: RefusalScope::Destination,
    })
}

/// A soft error is AMQP's word for one that closes a channel, because of something that was sent on
/// it. Every other error concerns the connection, and says nothing about the message.
fn not_confirmed(error: &lapin::Error) -> Settlement {
    if let ErrorKind::ProtocolError(protocol) = error.kind()
        && let AMQPErrorKind::Soft(soft) = protocol.kind()
    {
        let (error, scope) = match soft {
            AMQPSoftError::ACCESSREFUSED => ("access_refused", RefusalScope::Destination),
            AMQPSoftError::NOTFOUND => ("not_found", RefusalScope::Destination),
            AMQPSoftError::RESOURCELOCKED => ("resource_locked", RefusalScope::Destination),
            AMQPSoftError::CONTENTTOOLARGE => ("content_too_large", RefusalScope::Message),
            AMQPSoftError::PRECONDITIONFAILED => ("precondition_failed", RefusalScope::Message),
            AMQPSoftError::NOROUTE | AMQPSoftError::NOCONSUMERS => {
                ("channel_closed", RefusalScope::Message)
            }
        };
        return Settlement::Suspected(Refusal {
            error: Cow::Borrowed(error),
            reason: protocol.get_message().to_string(),
            scope,
        });
    }
    Settlement::Failed(error.to_string())
}
