//! What a running service hands to its handlers.

use std::fmt;
use std::sync::Arc;

use event_bus::EventBus;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Environment;
use crate::service::Service;
use crate::token::TokenVerifier;

/// A running service, as its HTTP handlers see it: the state of axum. Clones are cheap and share
/// everything.
pub struct App<S: Service> {
    /// Connections to the service's database, for reading. What is written goes through a unit of
    /// work of the bus.
    pub pool: PgPool,
    /// The bus; `bus.begin()` starts a unit of work.
    pub bus: EventBus,
    /// The service's own variables.
    pub settings: Arc<S::Settings>,
    /// What the service keeps in memory.
    pub state: Arc<S::State>,
    /// Where the service runs.
    pub environment: Environment,
    /// Checks access tokens.
    pub tokens: TokenVerifier,
    pub(crate) background: Background,
}

/// Tasks beside the requests, which end when the service shuts down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Background {
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

impl Background {
    /// Runs the task until it ends, or is dropped at the next await point after shutdown began.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            shutdown.run_until_cancelled(task).await;
        });
    }
}

impl<S: Service> App<S> {
    /// Runs a task beside the requests. It is dropped when the service shuts down, so what it does
    /// must bear being stopped at any await point.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(task);
    }
}

impl<S: Service> Clone for App<S> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            bus: self.bus.clone(),
            settings: self.settings.clone(),
            state: self.state.clone(),
            environment: self.environment,
            tokens: self.tokens.clone(),
            background: self.background.clone(),
        }
    }
}

impl<S: Service> fmt::Debug for App<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("service", &S::NAME)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}
