//! The tasks of a bus, and how they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::EventBus;
use crate::dispatcher::{self, Dispatcher};
use crate::housekeeping;
use crate::queries::ResponderEntry;
use crate::registry::Registry;
use crate::relay::Relay;
use crate::settings::BusSettings;
use crate::transport::{Desk, Group, Transport};
use crate::wake::WakeUp;

/// What runs behind an [`EventBus`].
pub(crate) struct Running {
    /// Handling: these stop first, since what they do may publish.
    handling: TaskTracker,
    relaying: TaskTracker,
    stop_relaying: CancellationToken,
    /// Ends what has not ended by itself in time.
    abandon: CancellationToken,
    transport: Arc<dyn Transport>,
    grace: Duration,
}

impl Running {
    pub(crate) async fn start(
        bus: &EventBus,
        registry: Registry,
        settings: &BusSettings,
        shutdown: &CancellationToken,
    ) -> Self {
        let running = Self {
            handling: TaskTracker::new(),
            relaying: TaskTracker::new(),
            stop_relaying: CancellationToken::new(),
            abandon: CancellationToken::new(),
            transport: bus.transport.clone(),
            grace: settings.shutdown_grace,
        };
        let relay = Relay {
            pool: bus.pool.clone(),
            transport: bus.transport.clone(),
            publisher: bus.publisher.clone(),
            settings: settings.clone(),
        };
        running.spawn(&running.relaying, relay.run(running.stop_relaying.clone()));
        let keeping = housekeeping::run(bus.pool.clone(), settings.clone(), shutdown.clone());
        running.spawn(&running.handling, keeping);
        running.handle(bus, registry, settings, shutdown).await;
        running
    }

    async fn handle(
        &self,
        bus: &EventBus,
        registry: Registry,
        settings: &BusSettings,
        shutdown: &CancellationToken,
    ) {
        let bindings = registry.bindings();
        if bindings.is_empty() {
            return;
        }
        let group = Group {
            name: bus.publisher.service.clone(),
            bindings,
            prefetch: settings.prefetch,
        };
        let dispatcher = Arc::new(Dispatcher {
            pool: bus.pool.clone(),
            publisher: bus.publisher.clone(),
            registry,
            settings: settings.clone(),
            retry_stored: WakeUp::default(),
        });
        let subscription = bus.transport.subscribe(group).await;
        let subscription = Arc::new(Mutex::new(subscription));
        for _ in 0..settings.workers.max(1) {
            let worker = dispatcher
                .clone()
                .run(subscription.clone(), shutdown.clone());
            self.spawn(&self.handling, worker);
        }
        let retrier = dispatcher::run_retrier(dispatcher, shutdown.clone());
        self.spawn(&self.handling, retrier);
    }

    /// Answers queries until shut down.
    pub(crate) async fn answer(
        &self,
        bus: &EventBus,
        responders: Vec<ResponderEntry>,
        at_once: u16,
        shutdown: &CancellationToken,
    ) {
        for responder in responders {
            let desk = Desk {
                service: bus.publisher.service.clone(),
                query: responder.query().to_owned(),
                at_once,
            };
            let questions = bus.transport.serve(desk).await;
            let answering = responder.answer_all(questions, shutdown.clone());
            self.spawn(&self.handling, answering);
        }
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
