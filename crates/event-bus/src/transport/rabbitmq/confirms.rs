//! Which message a confirm is for, and which one a return.
//!
//! The broker returns an unroutable message before it confirms it. The client hands a return to
//! whichever confirm it resolves next, and with confirms of many messages in one frame that can be
//! the confirm of another message. So returns are told apart by message id, and batches are settled
//! in the order in which they were published: when all confirms up to the end of a batch are in,
//! so are all returns of it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::transport::Settlement;

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
    messages: Vec<(Uuid, Sent)>,
    answer: oneshot::Sender<Vec<Settlement>>,
}

impl Confirms {
    /// Starts with a new channel. Ends when it is dropped and all batches are settled; the channel
    /// stays open until then.
    pub(super) fn start(channel: Channel) -> Self {
        let (sender, batches) = mpsc::unbounded_channel();
        let settling = Settling::default();
        let refused = settling.refused.clone();
        tokio::spawn(async move {
            settle(batches, settling).await;
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
        messages: Vec<(Uuid, Sent)>,
    ) -> BoxFuture<'static, Vec<Settlement>> {
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

/// A batch of which not everything is known yet.
struct Open {
    ids: Vec<Uuid>,
    /// Why a message failed; `None` if it was confirmed, or nothing was heard yet.
    failures: Vec<Option<String>>,
    unresolved: usize,
    answer: oneshot::Sender<Vec<Settlement>>,
}

#[derive(Default)]
struct Settling {
    confirms: FuturesUnordered<BoxFuture<'static, Resolved>>,
    open: VecDeque<Open>,
    /// The number of the first open batch.
    first: usize,
    returned: HashSet<Uuid>,
    refused: Arc<AtomicBool>,
}

/// The number of a batch, the index of a message in it, and what came for it.
type Resolved = (usize, usize, lapin::Result<Confirmation>);

async fn settle(mut batches: mpsc::UnboundedReceiver<Batch>, mut settling: Settling) {
    let mut listening = true;
    while listening || !settling.confirms.is_empty() {
        tokio::select! {
            batch = batches.recv(), if listening => match batch {
                Some(batch) => settling.add(batch),
                None => listening = false,
            },
            Some(resolved) = settling.confirms.next() => {
                settling.note(resolved);
                // All that is known by now, since a return may have come with a later confirm.
                while let Some(Some(resolved)) = settling.confirms.next().now_or_never() {
                    settling.note(resolved);
                }
            }
        }
        settling.answer();
    }
}

impl Settling {
    fn add(&mut self, batch: Batch) {
        let number = self.first + self.open.len();
        let mut open = Open {
            ids: Vec::with_capacity(batch.messages.len()),
            failures: Vec::with_capacity(batch.messages.len()),
            unresolved: 0,
            answer: batch.answer,
        };
        for (index, (id, sent)) in batch.messages.into_iter().enumerate() {
            open.ids.push(id);
            match sent {
                Ok(confirm) => {
                    open.failures.push(None);
                    open.unresolved += 1;
                    let resolved = confirm.map(move |confirmation| (number, index, confirmation));
                    self.confirms.push(resolved.boxed());
                }
                Err(error) => open.failures.push(Some(error.to_string())),
            }
        }
        self.open.push_back(open);
    }

    fn note(&mut self, (number, index, confirmation): Resolved) {
        let failure = match &confirmation {
            Ok(Confirmation::Ack(_)) => None,
            Ok(Confirmation::Nack(_)) => {
                self.refused.store(true, Ordering::Relaxed);
                Some("refused by the broker".to_owned())
            }
            Ok(Confirmation::NotRequested) => Some("not in confirm mode".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(returned) = confirmation.ok().and_then(Confirmation::take_message) {
            let id = returned.delivery.properties.message_id().as_ref();
            self.returned
                .extend(id.and_then(|id| Uuid::parse_str(id.as_str()).ok()));
        }
        if let Some(open) = self.open.get_mut(number - self.first) {
            open.failures[index] = failure;
            open.unresolved -= 1;
        }
    }

    /// Answers for the first batches as far as everything is known of them.
    fn answer(&mut self) {
        while self.open.front().is_some_and(|open| open.unresolved == 0) {
            let Some(open) = self.open.pop_front() else {
                return;
            };
            self.first += 1;
            let settled = open.ids.iter().zip(open.failures);
            let settlements = settled.map(|(id, failure)| {
                let returned = self.returned.remove(id);
                match failure {
                    Some(reason) => Settlement::Failed(reason),
                    None if returned => Settlement::Unroutable,
                    None => Settlement::Confirmed,
                }
            });
            // Whoever asked may have gone, at a shutdown.
            let _ = open.answer.send(settlements.collect());
        }
    }
}
