//! The running instances of a service: what each of them handles, and what none of them handles any
//! more.
//!
//! Each instance records its handlers and bindings and renews its record every few seconds. A new
//! version starts beside the old one, or right after it, and what no recorded instance wants any
//! more is unbound; queues stay, with what they hold. While all instances are down nothing is
//! unbound, so messages wait for the next one.

mod report;
mod storage;
mod stranded;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::report::Report;
use self::storage::Instance;
use crate::database_fault::DatabaseFault;
use crate::groups::Groups;
use crate::sessions::{self, Session};
use crate::transport::Group;

const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// After the database failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Before an instance takes others for crashed, it has renewed its own record without a failure for
/// so long: after an outage of the database all records are old, until their instances renew them.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the broker may take to unbind or count a group. The database's lock is held meanwhile.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an instance that stops may take to delete its record.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// What a condition is raised on while the record can't be renewed.
const SUBJECT: &str = "instances";

/// This instance among those of its service.
#[derive(Debug)]
pub(crate) struct Presence {
    id: Uuid,
    /// Cancelled when the first attempt to register has succeeded or failed. Groups are bound
    /// after that, so that their bindings are known.
    pub(crate) registered: CancellationToken,
    /// Cancelled when what no instance wants was unbound. Groups count as bound after that.
    pub(crate) swept: CancellationToken,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Self {
            id: Uuid::now_v7(),
            registered: CancellationToken::new(),
            swept: CancellationToken::new(),
        }
    }
}

/// A group that an instance takes part in.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) group: Group,
    /// Whether it was subscribed while the bus was running.
    pub(crate) subscribed: bool,
}

/// Renews this instance's record, and unbinds what no instance wants, until shut down.
pub(crate) async fn run(groups: Arc<Groups>) {
    let shutdown = groups.shutdown.clone();
    let mut watch = Watch {
        report: Report::default(),
        groups,
        renewing_since: None,
    };
    while !shutdown.is_cancelled() {
        let round = shutdown.run_until_cancelled(watch.round()).await;
        watch.groups.presence.registered.cancel();
        let pause = match round {
            None => break,
            Some(Ok(())) => {
                watch.groups.conditions.clear(SUBJECT);
                RENEW_INTERVAL
            }
            Some(Err(error)) => {
                watch.renewing_since = None;
                if DatabaseFault::of(&error) == DatabaseFault::Outage {
                    tracing::debug!(%error, "can't renew the record of this instance");
                } else {
                    let reason = format!("the record of this instance can't be renewed: {error}");
                    watch.groups.conditions.raise(SUBJECT, reason);
                }
                RETRY_INTERVAL
            }
        };
        shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await;
    }
    watch.leave().await;
}

/// Records a subscription before it is bound, also one that was unsubscribed before.
///
/// # Errors
///
/// If the database fails. The next renewal records it, too.
pub(crate) async fn record_subscription(groups: &Groups, group: &str) -> Result<(), sqlx::Error> {
    let (instance, service) = (instance_of(groups), &groups.publisher.service);
    sessions::transact!(&groups.pool, |connection| async {
        storage::lock(connection).await?;
        storage::register(connection, &instance).await?;
        storage::rebind(connection, service, group).await
    })
}

/// Records that a subscription was unsubscribed, so that no instance binds it again.
///
/// # Errors
///
/// If the database fails.
pub(crate) async fn record_unsubscription(groups: &Groups, group: &str) -> Result<(), sqlx::Error> {
    let service = &groups.publisher.service;
    sessions::transact!(&groups.pool, |connection| storage::unsubscribe(
        connection, service, group
    ))
}

fn instance_of(groups: &Groups) -> Instance {
    Instance {
        id: groups.presence.id,
        service: groups.publisher.service.clone(),
        handlers: groups.handler_names(),
        wanted: groups.wanted(),
    }
}

struct Watch {
    groups: Arc<Groups>,
    report: Report,
    /// Since when each renewal has succeeded.
    renewing_since: Option<Instant>,
}

impl Watch {
    async fn round(&mut self) -> Result<(), sqlx::Error> {
        self.register().await?;
        self.groups.presence.registered.cancel();
        let since = *self.renewing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            sessions::transact!(&self.groups.pool, |connection| storage::expire(connection))?;
        }
        self.sweep().await?;
        self.end_unsubscribed().await?;
        self.report.update(&self.groups).await
    }

    async fn register(&self) -> Result<(), sqlx::Error> {
        let is_first = !self.groups.presence.registered.is_cancelled();
        let instance = instance_of(&self.groups);
        sessions::transact!(&self.groups.pool, |connection| async {
            if is_first {
                storage::lock(connection).await?;
            }
            storage::register(connection, &instance).await
        })
    }

    /// Unbinds what no instance wants.
    async fn sweep(&self) -> Result<(), sqlx::Error> {
        let (pool, service) = (&self.groups.pool, &self.groups.publisher.service);
        let unwanted = sessions::run!(pool, |connection| storage::unwanted(connection, service))?;
        if unwanted.is_empty() {
            self.groups.presence.swept.cancel();
            return Ok(());
        }
        if !self.is_connected_soon().await {
            return Ok(());
        }
        let mut transaction = Session::begin(pool).await?;
        storage::lock(&mut transaction).await?;
        for group in storage::unwanted(&mut transaction, service).await? {
            if self.unbind(&group).await {
                storage::mark_unbound(&mut transaction, service, &group).await?;
            }
        }
        transaction.commit().await?;
        self.groups.presence.swept.cancel();
        Ok(())
    }

    /// Whether there is a connection to the broker within the time of one renewal.
    async fn is_connected_soon(&self) -> bool {
        let is_connected = async {
            while !self.groups.transport.connected() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(RENEW_INTERVAL, is_connected).await.is_ok()
    }

    async fn unbind(&self, group: &Group) -> bool {
        let subject = format!("bindings of {}", group.name);
        let reason = match timeout(BROKER_TIMEOUT, self.groups.transport.unbind(group)).await {
            Ok(Ok(())) => {
                self.groups.conditions.clear(&subject);
                let patterns: Vec<_> = group.bindings.iter().map(|b| &b.pattern).collect();
                tracing::info!(
                    group = group.name,
                    ?patterns,
                    "unbound messages that no instance handles any more"
                );
                return true;
            }
            Ok(Err(error)) => match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
            Err(_) => "the broker does not answer".to_owned(),
        };
        let reason = format!(
            "messages that no instance handles any more still reach the group and become dead \
             letters, since they can't be unbound: {reason}"
        );
        self.groups.conditions.raise(&subject, reason);
        false
    }

    /// Follows what other instances have unsubscribed: otherwise this one would bind it again.
    async fn end_unsubscribed(&self) -> Result<(), sqlx::Error> {
        let mine = self.groups.subscribed();
        if mine.is_empty() {
            return Ok(());
        }
        let service = &self.groups.publisher.service;
        let ended = sessions::run!(&self.groups.pool, |connection| storage::unsubscribed(
            connection, service
        ))?;
        for active in mine {
            if ended.contains(&active.group.name)
                && self.groups.transport.connected()
                && !active.withdrawn.swap(true, Ordering::Relaxed)
            {
                self.unbind(&active.group).await;
            }
        }
        Ok(())
    }

    /// Deletes this instance's record, so that the next version need not wait for it to expire.
    async fn leave(&self) {
        let (pool, id) = (&self.groups.pool, self.groups.presence.id);
        let leave =
            async { sessions::transact!(pool, |connection| storage::leave(connection, id)) };
        match timeout(LEAVE_TIMEOUT, leave).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "could not delete the record of this instance; it expires");
            }
            Err(_) => tracing::debug!("could not delete the record of this instance; it expires"),
        }
    }
}
