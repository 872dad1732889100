//! Messages that must not be run now: their handler is paused, their key is held back, or the
//! broker has given up on them.

use std::collections::HashSet;

use super::Dispatcher;
use crate::envelope::Envelope;
use crate::handler_entry::{HandlerEntry, Task};
use crate::held_keys::{self, Held};
use crate::retries::{self, Untried};
use crate::unit_of_work::UnitOfWork;

impl Dispatcher {
    /// The key within which a message has its order here, if it has one.
    pub(super) fn key_of<'a>(&self, envelope: &'a Envelope) -> Option<&'a str> {
        self.settings.partitions?;
        envelope.partition_key.as_deref()
    }

    /// Why a handler's messages are not run now, if its kill switch has paused it.
    pub(super) fn pause_of(&self, handler: &HandlerEntry) -> Option<Untried> {
        self.switches.pause_of(handler.name).map(Untried::Paused)
    }

    /// Stores what must not be run now, as part of the work, and gives back the rest in its order.
    /// `untried` says for which handlers messages are stored whatever their key.
    pub(super) async fn set_aside<'a>(
        &self,
        work: &mut UnitOfWork,
        fresh: Vec<(&'a HandlerEntry, Task)>,
        untried: impl Fn(&HandlerEntry) -> Option<Untried>,
    ) -> Result<Vec<(&'a HandlerEntry, Task)>, sqlx::Error> {
        let mut held_keys = self.held_keys_of(work, &fresh).await?;
        let (mut runnable, mut behind) = (Vec::with_capacity(fresh.len()), Vec::new());
        for (handler, task) in fresh {
            let key = self.key_of(&task.envelope).map(str::to_owned);
            let in_order = key.map(|key| (handler.name.to_owned(), key));
            let mut is_held = in_order.as_ref().is_some_and(|key| held_keys.contains(key));
            let untried = untried(handler);
            if let (Some((name, key)), Some(_), false) = (&in_order, untried, is_held) {
                // Another instance may have begun to hold it meanwhile.
                is_held = !held_keys::hold(work, name, key, task.envelope.id).await?;
                held_keys.insert((name.clone(), key.clone()));
            }
            match (in_order, untried) {
                (Some((_, key)), _) if is_held => behind.push(Held {
                    handler: handler.name,
                    key,
                    envelope: task.envelope,
                }),
                (_, Some(untried)) => {
                    retries::store_untried(work, &task.envelope, handler.name, untried).await?;
                }
                (_, None) => runnable.push((handler, task)),
            }
        }
        held_keys::append(work, &behind).await?;
        Ok(runnable)
    }

    async fn held_keys_of(
        &self,
        work: &mut UnitOfWork,
        fresh: &[(&HandlerEntry, Task)],
    ) -> Result<HashSet<(String, String)>, sqlx::Error> {
        let keys: Vec<_> = fresh
            .iter()
            .filter_map(|(handler, task)| {
                Some((handler.name, self.key_of(&task.envelope)?.to_owned()))
            })
            .collect();
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        held_keys::held_of(work, &keys).await
    }
}
