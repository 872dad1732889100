//! Giving dead letters to their handlers again.
//!
//! A replay runs no handler. In one transaction it makes the letter a stored retry that is due
//! now, and the retries do the rest: as often as a letter is replayed at the same time, and
//! wherever a process ends in between, there is one letter or one retry, and so one effect.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::handle::{BulkMode, DeadLetters};
use super::letter::DeadLetterFilter;
use super::pages::Pages;
use super::storage::{self, Address};
use crate::inbox::{self, ClaimError};
use crate::{sessions, signals};

/// What became of a letter that was to be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// It is no dead letter any more, and is being tried again.
    Replayed,
    /// It stays where it is.
    NotReplayable(NotReplayable),
    /// It is not, or no longer, there. Perhaps somebody else has just replayed it.
    NotFound,
}

/// Why a letter can't be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotReplayable {
    /// It could not be read as a message, so there is nothing to give to a handler.
    Unreadable,
    /// This bus has no handler of that message, or not the one that failed.
    NoHandler,
    /// It never reached a handler, but by another way all handlers that this bus has for the
    /// message have had it.
    AlreadyTaken,
    /// It never reached a handler, but by another way the message is being handled at this moment.
    /// When that has ended it can be replayed, or there is no need to.
    BeingHandled,
}

/// What a replay of many letters did, or in a dry run would do now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Letters that match the filter.
    pub matching: u64,
    /// Those of them that are no dead letters any more, and are being tried again.
    pub replayed: u64,
    /// Those of them that stay, by the reason.
    pub not_replayable: BTreeMap<NotReplayable, u64>,
}

impl DeadLetters {
    /// Gives a letter to its handler again.
    ///
    /// Only the handler that failed gets it, with all attempts of the
    /// [`RetryPolicy`](crate::RetryPolicy) anew. If it fails again, the message is a dead letter
    /// again, under a new id; its attempts and the time of its first failure go on from before.
    ///
    /// A letter that never reached a handler goes to each handler that this bus has for the
    /// message and that has not had it. What ended the process before
    /// ([`DeliveryLimit`](crate::dead_letters::DeadLetterReason::DeliveryLimit)) will do so again, unless the
    /// handler is mended first.
    ///
    /// # Errors
    ///
    /// If the database fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the dead letter is replayed or it is not, in one transaction.
    pub async fn replay(&self, id: Uuid) -> Result<ReplayOutcome, sqlx::Error> {
        let report = sessions::transact!(&self.bus.pool, |connection| async {
            let ids = storage::lock(connection, &[id]).await?;
            let mut report = ReplayReport::default();
            self.replay_within(connection, &ids, BulkMode::Apply, &mut report)
                .await?;
            Ok(report)
        })?;
        self.tell(report.replayed);
        let obstacle = report.not_replayable.into_keys().next();
        Ok(match obstacle {
            Some(obstacle) => ReplayOutcome::NotReplayable(obstacle),
            None if report.replayed > 0 => ReplayOutcome::Replayed,
            None => ReplayOutcome::NotFound,
        })
    }

    /// Gives all letters that match to their handlers again, the oldest first, each as
    /// [`replay`](Self::replay) does. Letters that come while it runs are not among them.
    ///
    /// # Errors
    ///
    /// If the database fails. What was replayed before stays so; call it again.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the pages that were committed stay replayed, and the next call
    /// continues. Retries that it stored last may wait for the next poll.
    pub async fn replay_all(
        &self,
        filter: &DeadLetterFilter,
        mode: BulkMode,
    ) -> Result<ReplayReport, sqlx::Error> {
        let mut report = ReplayReport::default();
        let mut pages = Pages::open(&self.bus.pool, filter, mode).await?;
        while let Some((mut transaction, ids)) = pages.next().await? {
            let before = report.replayed;
            self.replay_within(&mut transaction, &ids, mode, &mut report)
                .await?;
            transaction.commit().await?;
            if mode == BulkMode::Apply {
                self.tell(report.replayed - before);
            }
        }
        Ok(report)
    }

    /// Replays letters that are locked, and adds them to the report.
    async fn replay_within(
        &self,
        connection: &mut PgConnection,
        ids: &[Uuid],
        mode: BulkMode,
        report: &mut ReplayReport,
    ) -> Result<(), sqlx::Error> {
        let letters = storage::addresses(connection, ids).await?;
        report.matching += letters.len() as u64;
        let mut failed = Vec::new();
        let mut unclaimed = Vec::new();
        for letter in &letters {
            match self.receivers(letter) {
                Ok(Receivers::TheOneThatFailed) => failed.push(letter.id),
                Ok(Receivers::Each(message, handlers)) => {
                    unclaimed.push((letter.id, message, handlers));
                }
                Err(obstacle) => report.add_obstacle(obstacle),
            }
        }
        let Claimed { fresh, held } = claim(connection, &unclaimed, mode).await?;
        let (mut of_nobody, mut handlers) = (Vec::new(), Vec::new());
        for (letter, message, names) in unclaimed {
            if held.contains(&letter) {
                report.add_obstacle(NotReplayable::BeingHandled);
                continue;
            }
            let names = names.into_iter().map(|name| (message, name));
            let before = handlers.len();
            handlers.extend(
                names
                    .filter(|claim| fresh.contains(claim))
                    .map(|(_, name)| name),
            );
            of_nobody.resize(handlers.len(), letter);
            if handlers.len() == before {
                report.add_obstacle(NotReplayable::AlreadyTaken);
            } else {
                report.replayed += 1;
            }
        }
        report.replayed += failed.len() as u64;
        if mode == BulkMode::Apply {
            storage::give_back(connection, &failed).await?;
            storage::give_out(connection, &of_nobody, &handlers).await?;
        }
        Ok(())
    }

    fn receivers(&self, letter: &Address) -> Result<Receivers, NotReplayable> {
        let Some((message, name)) = &letter.message else {
            return Err(NotReplayable::Unreadable);
        };
        let mut handlers = self.bus.groups.handler_names_of(name);
        if let Some(failed) = &letter.handler {
            return if handlers.contains(failed) {
                Ok(Receivers::TheOneThatFailed)
            } else {
                Err(NotReplayable::NoHandler)
            };
        }
        if handlers.is_empty() {
            return Err(NotReplayable::NoHandler);
        }
        handlers.retain(|handler| !letter.taken_by.contains(handler));
        Ok(Receivers::Each(*message, handlers))
    }

    fn tell(&self, replayed: u64) {
        if replayed > 0 {
            self.bus.groups.wake_retriers();
            tracing::info!(letters = replayed, "dead letters are being tried again");
            signals::dead_letters_removed("replayed", replayed);
        }
    }
}

/// Who is to have a letter.
enum Receivers {
    TheOneThatFailed,
    /// The message and handlers that may not have had it.
    Each(Uuid, Vec<String>),
}

/// A letter, its message, and handlers that may not have had the message.
type Unclaimed = (Uuid, Uuid, Vec<String>);

#[derive(Default)]
struct Claimed {
    /// Messages and the handlers that have not had them.
    fresh: HashSet<(Uuid, String)>,
    /// Letters whose messages are being handled.
    held: HashSet<Uuid>,
}

/// Which of the handlers have not had their message. They have it now, unless it is a dry run.
///
/// A message that another transaction is handling is left out. It shows only by a claim that
/// fails, so after a failure the letters are claimed one by one.
async fn claim(
    connection: &mut PgConnection,
    letters: &[Unclaimed],
    mode: BulkMode,
) -> Result<Claimed, sqlx::Error> {
    let mut claimed = Claimed::default();
    match mode {
        _ if letters.is_empty() => {}
        BulkMode::DryRun => {
            claimed.fresh = inbox::unclaimed(connection, &claims_of(letters)).await?;
        }
        BulkMode::Apply => match try_claim(connection, letters).await? {
            Some(fresh) => claimed.fresh = fresh,
            None => {
                for letter in letters {
                    match try_claim(connection, std::slice::from_ref(letter)).await? {
                        Some(fresh) => claimed.fresh.extend(fresh),
                        None => _ = claimed.held.insert(letter.0),
                    }
                }
            }
        },
    }
    Ok(claimed)
}

/// Claims the messages of all these letters, or of none if one of them is being handled.
async fn try_claim(
    connection: &mut PgConnection,
    letters: &[Unclaimed],
) -> Result<Option<HashSet<(Uuid, String)>>, sqlx::Error> {
    storage::mark(connection).await?;
    match inbox::claim(connection, &claims_of(letters)).await {
        Ok(fresh) => Ok(Some(fresh)),
        Err(ClaimError::HeldElsewhere) => {
            storage::undo(connection).await?;
            Ok(None)
        }
        Err(ClaimError::Database(error)) => Err(error),
    }
}

fn claims_of(letters: &[Unclaimed]) -> Vec<inbox::Claim<'_>> {
    let claims = letters.iter().flat_map(|(_, message, handlers)| {
        handlers.iter().map(|handler| (*message, handler.as_str()))
    });
    claims.collect()
}

impl ReplayReport {
    fn add_obstacle(&mut self, obstacle: NotReplayable) {
        *self.not_replayable.entry(obstacle).or_default() += 1;
    }
}
