//! Messages that must not be run now: their handler is paused, or their key is held back.

use std::collections::HashSet;

use jiff::Timestamp;

use super::Dispatcher;
use crate::envelope::Envelope;
use crate::handler_entry::{HandlerEntry, Task};
use crate::held_keys::{self, Held};
use crate::retries;
use crate::unit_of_work::UnitOfWork;

impl Dispatcher {
    /// The key within which a message has its order here, if it has one.
    pub(super) fn key_of<'a>(&self, envelope: &'a Envelope) -> Option<&'a str> {
        self.settings.partitions?;
        envelope.partition_key.as_deref()
    }

    /// Stores what must not be run now, as part of the work, and gives back the rest in its order.
    pub(super) async fn set_aside<'a>(
        &self,
        work: &mut UnitOfWork,
        fresh: Vec<(&'a HandlerEntry, Task)>,
    ) -> Result<Vec<(&'a HandlerEntry, Task)>, sqlx::Error> {
        let mut held_keys = self.held_keys_of(work, &fresh).await?;
        let (mut runnable, mut behind) = (Vec::with_capacity(fresh.len()), Vec::new());
        for (handler, task) in fresh {
            let key = self.key_of(&task.envelope).map(str::to_owned);
            let in_order = key.map(|key| (handler.name.to_owned(), key));
            if let Some(held) = in_order.as_ref().filter(|held| held_keys.contains(*held)) {
                behind.push(Held {
                    handler: handler.name,
                    key: held.1.clone(),
                    envelope: task.envelope,
                });
                continue;
            }
            let Some(pause) = self.switches.pause_of(handler.name) else {
                runnable.push((handler, task));
                continue;
            };
            let next_at = Timestamp::now().saturating_add(pause);
            let next_at = next_at.unwrap_or(Timestamp::MAX);
            retries::store_untried(work, &task.envelope, handler.name, next_at).await?;
            if let Some((name, key)) = in_order {
                held_keys::hold(work, &name, &key, task.envelope.id).await?;
                held_keys.insert((name, key));
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
