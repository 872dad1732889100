//! What has arrived, handled in one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{Dispatcher, Unsettled, span};
use crate::dead_letters::{self, DeadLetter, Reason};
use crate::envelope::{Envelope, MAX_BODY_BYTES};
use crate::handler_entry::{HandlerEntry, Task};
use crate::registry::Registry;
use crate::transport::{Delivery, Receipt};
use crate::unit_of_work::UnitOfWork;
use crate::{inbox, signals};

/// A message that has handlers here.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) envelope: Arc<Envelope>,
    pub(super) receipt: Receipt,
}

/// A delivery that no handler can be given.
#[derive(Debug)]
pub(super) struct Unreadable {
    envelope: Option<Arc<Envelope>>,
    pub(super) body: bytes::Bytes,
    reason: Reason,
    detail: String,
    pub(super) receipt: Receipt,
}

/// Parts what handlers can be given from what they can't. What comes again anyway, because its
/// channel is gone, is left out.
pub(super) fn sort_out(
    arrived: Vec<Delivery>,
    registry: &Registry,
) -> (Vec<Arrival>, Vec<Unreadable>) {
    let (mut messages, mut unreadable) = (Vec::with_capacity(arrived.len()), Vec::new());
    for delivery in arrived {
        let receipt = delivery.receipt;
        if !receipt.is_open() {
            continue;
        }
        match delivery.content {
            Err(malformed) => unreadable.push(Unreadable {
                envelope: None,
                body: malformed.body,
                reason: Reason::Malformed,
                detail: malformed.reason,
                receipt,
            }),
            Ok(envelope) => match objection(&envelope, delivery.given_up, registry) {
                None => messages.push(Arrival { envelope, receipt }),
                Some((reason, detail)) => unreadable.push(Unreadable {
                    body: envelope.body.clone(),
                    envelope: Some(envelope),
                    reason,
                    detail,
                    receipt,
                }),
            },
        }
    }
    (messages, unreadable)
}

fn objection(envelope: &Envelope, given_up: bool, registry: &Registry) -> Option<(Reason, String)> {
    if given_up {
        let detail = "the broker delivered it too often without an answer".to_owned();
        return Some((Reason::DeliveryLimit, detail));
    }
    if envelope.body.len() > MAX_BODY_BYTES {
        let detail = format!(
            "the body is over the {MAX_BODY_BYTES} bytes that are taken, this is its beginning"
        );
        return Some((Reason::TooLarge, detail));
    }
    if registry.handlers_of(&envelope.name).next().is_none() {
        let detail = format!("no handler here knows `{}`", envelope.name);
        return Some((Reason::UnknownMessage, detail));
    }
    None
}

impl Dispatcher {
    /// Runs all handlers of all messages in one transaction, or none of them.
    pub(super) async fn handle_together(&self, messages: &[Arrival]) -> Result<(), Unsettled> {
        let span = span::for_batch(messages.len());
        let _timer = span::HandlingTimer::start("batch");
        tracing::Instrument::instrument(self.run_batch(messages), span).await
    }

    async fn run_batch(&self, messages: &[Arrival]) -> Result<(), Unsettled> {
        let mut work = self.begin().await?;
        let fresh = self.claim_all(&mut work, messages).await?;
        let runnable = self.set_aside(&mut work, fresh).await?;
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let mut sets: Vec<(&HandlerEntry, Vec<Task>)> = Vec::new();
        for (handler, task) in runnable {
            *counts.entry(handler.name).or_default() += 1;
            if handler.takes_batches {
                match sets.iter_mut().find(|(set, _)| std::ptr::eq(*set, handler)) {
                    Some((_, tasks)) => tasks.push(task),
                    None => sets.push((handler, vec![task])),
                }
            } else {
                self.run_handler(handler, &[task], &mut work).await?;
            }
        }
        for (handler, tasks) in sets {
            self.run_handler(handler, &tasks, &mut work).await?;
        }
        work.commit().await?;
        for (handler, messages) in counts {
            self.switches.succeeded(handler, messages);
        }
        Ok(())
    }

    /// Takes the messages for all their handlers, and gives back what had not been taken before.
    async fn claim_all(
        &self,
        work: &mut UnitOfWork,
        messages: &[Arrival],
    ) -> Result<Vec<(&HandlerEntry, Task)>, sqlx::Error> {
        let tasks: Vec<_> = messages
            .iter()
            .flat_map(|message| {
                let handlers = self.registry.handlers_of(&message.envelope.name);
                handlers.map(|handler| (handler, &message.envelope))
            })
            .collect();
        let claims: Vec<_> = tasks
            .iter()
            .map(|(handler, envelope)| (envelope.id, handler.name))
            .collect();
        let mut fresh = inbox::claim(work, &claims).await?;
        signals::duplicates(claims.len() - fresh.len());
        // Removed, so that a message that is in the batch twice is handled once.
        let is_fresh = |(handler, envelope): &(&HandlerEntry, &Arc<Envelope>)| {
            fresh.remove(&(envelope.id, handler.name.to_owned()))
        };
        let fresh = tasks.into_iter().filter(is_fresh);
        Ok(fresh
            .map(|(handler, envelope)| {
                let envelope = envelope.clone();
                (
                    handler,
                    Task {
                        envelope,
                        attempt: 1,
                    },
                )
            })
            .collect())
    }

    /// Stores a delivery that no handler can be given among the dead letters.
    pub(super) async fn bury_unreadable(&self, letter: &Unreadable) -> Result<(), sqlx::Error> {
        // Committed before the message is acknowledged, whatever state the session was in.
        let mut work = self.begin().await?;
        if letter.reason == Reason::DeliveryLimit
            && let Some(envelope) = &letter.envelope
            && self.was_handled(&mut work, envelope).await?
        {
            return Ok(());
        }
        let letter = DeadLetter {
            envelope: letter.envelope.as_deref(),
            body: &letter.body,
            handler: None,
            reason: letter.reason,
            reasons: std::slice::from_ref(&letter.detail),
            attempts: 0,
            first_failed_at: Timestamp::now(),
        };
        dead_letters::insert(&mut work, &letter).await?;
        work.commit().await
    }

    /// Whether every handler has had the message. Then only its acknowledgement was lost, or was
    /// held back behind a message that kept ending the process.
    async fn was_handled(
        &self,
        connection: &mut PgConnection,
        envelope: &Envelope,
    ) -> Result<bool, sqlx::Error> {
        let handlers = self.registry.handlers_of(&envelope.name);
        let claims: Vec<_> = handlers.map(|h| (envelope.id, h.name)).collect();
        let unclaimed = inbox::unclaimed(connection, &claims).await?;
        Ok(!claims.is_empty() && unclaimed.is_empty())
    }

    /// Stores the bytes of a message of which the database refuses everything else.
    pub(super) async fn bury_body(&self, body: &[u8]) -> Result<(), sqlx::Error> {
        let mut work = self.begin().await?;
        let letter = DeadLetter {
            envelope: None,
            body,
            handler: None,
            reason: Reason::Malformed,
            reasons: &["the database refuses to store the message's attributes".to_owned()],
            attempts: 0,
            first_failed_at: Timestamp::now(),
        };
        dead_letters::insert(&mut work, &letter).await?;
        work.commit().await
    }
}
