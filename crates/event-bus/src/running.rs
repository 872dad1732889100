//! The tasks of a bus, and how they end.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::groups::Groups;
use crate::queries::ResponderEntry;
use crate::relay::Relay;
use crate::settings::BusSettings;
use crate::transport::{Desk, Transport};
use crate::{housekeeping, instances};

/// What runs behind an [`EventBus`](crate::EventBus).
pub(crate) struct Running {
    /// Handling: this stops first, since what it does may publish.
    handling: TaskTracker,
    relaying: TaskTracker,
    stop_relaying: CancellationToken,
    /// Ends what has not ended by itself in time.
    abandon: CancellationToken,
    transport: Arc<dyn Transport>,
    grace: Duration,
}

impl Running {
    pub(crate) fn start(groups: &Groups, settings: &BusSettings) -> Self {
        let running = Self {
            handling: groups.tasks.clone(),
            relaying: TaskTracker::new(),
            stop_relaying: CancellationToken::new(),
            abandon: groups.abandon.clone(),
            transport: groups.transport.clone(),
            grace: settings.shutdown_grace,
        };
        let relay = Relay {
            pool: groups.pool.clone(),
            transport: groups.transport.clone(),
            publisher: groups.publisher.clone(),
            settings: settings.clone(),
            conditions: groups.conditions.clone(),
        };
        running.spawn(&running.relaying, relay.run(running.stop_relaying.clone()));
        let shutdown = groups.shutdown.clone();
        let keeping = housekeeping::run(
            groups.pool.clone(),
            settings.clone(),
            groups.conditions.clone(),
            shutdown,
        );
        running.spawn(&running.handling, keeping);
        running
    }

    /// Answers queries until shut down.
    pub(crate) async fn answer(
        &self,
        groups: &Groups,
        responders: Vec<ResponderEntry>,
        at_once: u16,
    ) {
        for responder in responders {
            let desk = Desk {
                service: groups.publisher.service.clone(),
                query: responder.query().to_owned(),
                at_once,
            };
            let questions = self.transport.serve(desk).await;
            let answering = responder.answer_all(questions, groups.shutdown.clone());
            self.spawn(&self.handling, answering);
        }
    }

    /// Records this instance and what its groups are bound for, until shut down. Only when all
    /// groups are known: a binding of one that is not would be removed.
    pub(crate) fn watch_instances(&self, groups: &Arc<Groups>) {
        self.spawn(&self.handling, instances::run(groups.clone()));
    }

    fn spawn(&self, tracker: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
        let abandon = self.abandon.clone();
        tracker.spawn(async move {
            abandon.run_until_cancelled(task).await;
        });
    }

    /// Lets the handlers finish, then the relay, and closes the transport. What takes longer than
    /// the grace is abandoned: it is as if the process had ended, which nothing is lost by.
    pub(crate) async fn stop(self) {
        self.handling.close();
        self.relaying.close();
        let finish = async {
            self.handling.wait().await;
            self.stop_relaying.cancel();
            self.relaying.wait().await;
        };
        if tokio::time::timeout(self.grace, finish).await.is_err() {
            tracing::warn!(grace = ?self.grace, "the bus did not finish in time and is stopped");
            self.abandon.cancel();
            self.handling.wait().await;
            self.relaying.wait().await;
        }
        self.transport.close().await;
    }
}
