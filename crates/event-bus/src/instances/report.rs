//! Work that is stored and that no running instance will do, and groups that are not bound.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{BROKER_TIMEOUT, storage, stranded};
use crate::groups::Groups;
use crate::{sessions, signals};

/// How often the tables are read.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a group may take to be bound before that is a problem.
const BOUND_WITHIN: Duration = Duration::from_secs(10);

/// What was reported last.
#[derive(Debug, Default)]
pub(super) struct Report {
    read_at: Option<Instant>,
    /// From the tables, by subject.
    stored: BTreeMap<String, String>,
    /// All subjects that were raised.
    raised: BTreeSet<String>,
    /// The handlers that the metric is about.
    handlers: BTreeSet<String>,
}

impl Report {
    /// Raises the conditions that hold now and clears the others.
    pub(super) async fn update(&mut self, groups: &Groups) -> Result<(), sqlx::Error> {
        if self.read_at.is_none_or(|at| at.elapsed() >= INTERVAL) {
            self.stored = self.read(groups).await?;
            self.read_at = Some(Instant::now());
        }
        let mut problems = self.stored.clone();
        if groups.transport.connected() {
            for group in groups.unbound_for(BOUND_WITHIN) {
                let reason = "its queue is not bound yet; what is published now may not reach it";
                problems.insert(format!("consumers of {group}"), reason.to_owned());
            }
        }
        for subject in &self.raised {
            if !problems.contains_key(subject) {
                groups.conditions.clear(subject);
            }
        }
        for (subject, reason) in &problems {
            groups.conditions.raise(subject, reason);
        }
        self.raised = problems.into_keys().collect();
        Ok(())
    }

    async fn read(&mut self, groups: &Groups) -> Result<BTreeMap<String, String>, sqlx::Error> {
        let mut problems = BTreeMap::new();
        let pool = &groups.pool;
        let messages = sessions::run!(pool, |connection| stranded::count(connection))?;
        let id = groups.presence.id;
        let reports = sessions::run!(pool, |connection| stranded::is_oldest(connection, id))?;
        let mut handlers = BTreeSet::new();
        for stranded::Stranded {
            handler,
            retries,
            held,
        } in messages
        {
            let messages = retries + held;
            let reason = format!(
                "no running instance has a handler of this name, and {messages} messages are \
                 stored for it ({retries} retries, {held} behind a held key); they wait until one \
                 has, so run a version with this handler or give its successor this name"
            );
            signals::stranded(&handler, if reports { messages } else { 0 });
            problems.insert(format!("handler {handler}"), reason);
            handlers.insert(handler);
        }
        for handler in self.handlers.difference(&handlers) {
            signals::stranded(handler, 0);
        }
        self.handlers = handlers;
        self.read_abandoned(groups, &mut problems).await?;
        Ok(problems)
    }

    /// Groups that were removed from the program while their queues hold messages.
    async fn read_abandoned(
        &self,
        groups: &Groups,
        problems: &mut BTreeMap<String, String>,
    ) -> Result<(), sqlx::Error> {
        if !groups.transport.connected() {
            return Ok(());
        }
        let service = &groups.publisher.service;
        let pool = &groups.pool;
        let abandoned = sessions::run!(pool, |connection| storage::abandoned(connection, service))?;
        for group in abandoned {
            match timeout(BROKER_TIMEOUT, groups.transport.depth(&group)).await {
                Ok(Ok(Some(messages @ 1..))) => {
                    let reason = format!(
                        "no running instance has this group, and its queues hold {messages} \
                         messages; run a version with this group to handle them, or delete the queues"
                    );
                    problems.insert(format!("group {}", group.name), reason);
                }
                Ok(Ok(None)) => {
                    sessions::transact!(pool, |connection| storage::delete_group(
                        connection, service, &group
                    ))?;
                }
                Ok(Err(error)) => {
                    tracing::debug!(group = group.name, %error, "can't count a group's messages");
                }
                // Empty, or unknown: the next count may say more.
                Ok(Ok(Some(0))) | Err(_) => {}
            }
        }
        Ok(())
    }
}
