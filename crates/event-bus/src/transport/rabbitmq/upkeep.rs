//! The topology of a group, kept as it should be.
//!
//! Exchanges, queues and bindings can be deleted while a bus runs: by an operator, by a script, or
//! with a broker that lost its data. Publishers get an error from a deleted exchange and declare it
//! anew, without the bindings of anybody else. So each process checks what its groups need every
//! few seconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lapin::Connection;
use tokio_util::sync::CancellationToken;

use super::connection::Supervised;
use super::declaring::{DeclareError, Declaring, Mode, Resource};
use super::topology;
use crate::conditions::Conditions;
use crate::transport::{Binding, Group};

/// How often the topology of a group is checked.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// What one group needs at the broker. All members of the group in this process share it.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// The group as it was subscribed. What it is bound for is in `bindings`.
    group: Group,
    /// What the group is bound for. [`unbind`](Self::unbind) takes away from it, so that no check
    /// binds it again.
    bindings: Mutex<Vec<Binding>>,
    conditions: Conditions,
    /// Held while something is declared. A process that declares a quorum queue which another
    /// connection is just creating is answered that it exists, and consuming from it then closes
    /// the connection (RabbitMQ 3.10). All groups of a transport share it.
    setting_up: Arc<tokio::sync::Mutex<()>>,
    /// The connection on which everything was declared last. Locked during each change of the
    /// topology.
    established_on: tokio::sync::Mutex<Weak<Connection>>,
    /// Cancelled once all bindings were made.
    pub(super) bound: CancellationToken,
}

impl Upkeep {
    fn new(group: &Group, conditions: Conditions, setting_up: Arc<tokio::sync::Mutex<()>>) -> Self {
        Self {
            group: group.clone(),
            bindings: Mutex::new(group.bindings.clone()),
            conditions,
            setting_up,
            established_on: tokio::sync::Mutex::default(),
            bound: CancellationToken::new(),
        }
    }

    /// Whether it is that of this group, or of another one of its partitions.
    fn is_of(&self, group: &Group) -> bool {
        let partitions = |group: &Group| group.partition.map(|partition| partition.of);
        self.group.name == group.name
            && partitions(&self.group) == partitions(group)
            && *self.bindings() == group.bindings
    }

    /// Declares everything that the group needs, once for each connection.
    pub(super) async fn establish(&self, connection: &Arc<Connection>) -> Result<(), DeclareError> {
        let mut established_on = self.established_on.lock().await;
        if !is_same(&established_on, connection) {
            self.declare(connection, Mode::Declare).await?;
            *established_on = Arc::downgrade(connection);
        }
        Ok(())
    }

    /// Lets the next [`establish`](Self::establish) declare everything again.
    pub(super) async fn distrust(&self) {
        *self.established_on.lock().await = Weak::new();
    }

    /// Checks the topology every few seconds for as long as the group has members.
    async fn run(this: Weak<Self>, connection: Supervised, closed: CancellationToken) {
        loop {
            let pause = tokio::time::sleep(CHECK_INTERVAL);
            if closed.run_until_cancelled(pause).await.is_none() {
                return;
            }
            let Some(upkeep) = this.upgrade() else {
                return;
            };
            if connection.connected()
                && let Some(connection) = connection.get().await
            {
                closed.run_until_cancelled(upkeep.check(&connection)).await;
            }
        }
    }

    async fn check(&self, connection: &Arc<Connection>) {
        let established_on = self.established_on.lock().await;
        // Before, the members declare it themselves, and report why they can't.
        if is_same(&established_on, connection) {
            // What is wrong is reported, and checked again.
            let _ = self.declare(connection, Mode::Check).await;
        }
    }

    /// Declares everything, and reports what is wrong.
    async fn declare(&self, connection: &Connection, mode: Mode) -> Result<(), DeclareError> {
        let _setting_up = self.setting_up.lock().await;
        let subject = subject_of(&self.group);
        let group = Group {
            bindings: self.bindings().clone(),
            ..self.group.clone()
        };
        match declare(connection, mode, &group).await {
            Ok(declared) => {
                if declared.refused_bindings.is_empty() {
                    self.bound.cancel();
                }
                match declared.problem() {
                    Some(problem) => self.conditions.raise(&subject, problem),
                    None => self.conditions.clear(&subject),
                }
                Ok(())
            }
            Err(error) => {
                // A lost connection is reported once, for all groups.
                if connection.status().connected() {
                    self.conditions.raise(&subject, error.to_string());
                }
                Err(error)
            }
        }
    }

    fn bindings(&self) -> MutexGuard<'_, Vec<Binding>> {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upkeep {
    /// What was wrong with a group that has no members left concerns no one.
    fn drop(&mut self) {
        self.conditions.clear(&subject_of(&self.group));
    }
}

fn subject_of(group: &Group) -> String {
    format!("group {}", group.name)
}

fn is_same(established_on: &Weak<Connection>, connection: &Arc<Connection>) -> bool {
    let established_on = established_on.upgrade();
    established_on.is_some_and(|on| Arc::ptr_eq(&on, connection))
}

/// What a declaration came to.
struct Declared {
    recreated: Vec<Resource>,
    refused_bindings: Vec<String>,
}

impl Declared {
    fn problem(&self) -> Option<String> {
        if !self.refused_bindings.is_empty() {
            let bindings = self.refused_bindings.join(", ");
            return Some(format!(
                "the user may not bind {bindings}: it is unknown whether the group receives \
                 these messages; grant `write` for the destination and `read` for the exchange"
            ));
        }
        let recreated: Vec<_> = self.recreated.iter().map(Resource::to_string).collect();
        (!recreated.is_empty()).then(|| {
            format!(
                "{} had been deleted and was declared again; \
                 messages published in between may be lost",
                recreated.join(", ")
            )
        })
    }
}

async fn declare(
    connection: &Connection,
    mode: Mode,
    group: &Group,
) -> Result<Declared, DeclareError> {
    let mut declaring = Declaring::on(connection, mode).await?;
    topology::declare_exchanges(&mut declaring).await?;
    topology::declare_group(&mut declaring, group).await?;
    let declared = Declared {
        recreated: std::mem::take(&mut declaring.recreated),
        refused_bindings: std::mem::take(&mut declaring.refused_bindings),
    };
    declaring.close().await;
    Ok(declared)
}

/// The groups of a transport.
#[derive(Debug, Default)]
pub(super) struct Upkeeps {
    groups: Mutex<Vec<Weak<Upkeep>>>,
    setting_up: Arc<tokio::sync::Mutex<()>>,
}

impl Upkeeps {
    /// That of a group, shared with its other members.
    pub(super) fn of(
        &self,
        group: &Group,
        connection: &Supervised,
        conditions: &Conditions,
        closed: &CancellationToken,
    ) -> Arc<Upkeep> {
        let mut groups = self.lock();
        groups.retain(|upkeep| upkeep.strong_count() > 0);
        let shared = groups.iter().filter_map(Weak::upgrade);
        if let Some(upkeep) = shared.into_iter().find(|upkeep| upkeep.is_of(group)) {
            return upkeep;
        }
        let upkeep = Upkeep::new(group, conditions.clone(), self.setting_up.clone());
        let upkeep = Arc::new(upkeep);
        let weak = Arc::downgrade(&upkeep);
        groups.push(weak.clone());
        tokio::spawn(Upkeep::run(weak, connection.clone(), closed.clone()));
        upkeep
    }

    /// Takes bindings away from a group. When this returns, no member in this process binds the
    /// group for them any more.
    pub(super) async fn withdraw(&self, group: &Group) {
        let of_group: Vec<_> = self
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|upkeep| upkeep.group.name == group.name)
            .collect();
        for upkeep in &of_group {
            let mut bindings = upkeep.bindings();
            bindings.retain(|binding| !group.bindings.contains(binding));
        }
        // A declaration that has begun may still bind them.
        for upkeep in of_group {
            drop(upkeep.established_on.lock().await);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Upkeep>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
