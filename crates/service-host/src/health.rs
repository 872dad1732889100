//! Whether the process lives, and whether the service is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use event_bus::{ConnectionState, EventBus};
use serde::Serialize;
use sqlx::PgPool;

use crate::database;
use crate::problem::Problem;

/// How far a service has come on its way to its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(crate) enum Progress {
    /// The database was not reached yet.
    WaitingForDatabase,
    /// The schema is older than the program: `migrate` has to run.
    WaitingForMigration,
    /// The schema requires a newer program.
    IncompatibleSchema,
    /// The service prepares itself.
    Preparing,
    /// Requests are let in.
    Prepared,
}

/// Shared between the task that prepares the service and those who ask how it is.
#[derive(Debug)]
pub(crate) struct Readiness(AtomicU8);

impl Readiness {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(Progress::WaitingForDatabase as u8))
    }

    pub(crate) fn set(&self, progress: Progress) {
        self.0.store(progress as u8, Ordering::Release);
    }

    fn get(&self) -> Progress {
        use Progress::{
            IncompatibleSchema, Prepared, Preparing, WaitingForDatabase, WaitingForMigration,
        };
        let stored = self.0.load(Ordering::Acquire);
        [
            WaitingForDatabase,
            WaitingForMigration,
            IncompatibleSchema,
            Preparing,
        ]
        .into_iter()
        .find(|progress| *progress as u8 == stored)
        .unwrap_or(Prepared)
    }
}

#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) pool: PgPool,
    pub(crate) bus: EventBus,
}

#[derive(Debug, Serialize)]
struct Report {
    status: Status,
    checks: Checks,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ready,
    /// Everything that is accepted will be done, some of it later.
    Degraded,
    Starting,
    Unavailable,
}

#[derive(Debug, Serialize)]
struct Checks {
    database: Check,
    broker: BrokerCheck,
    service: Progress,
    /// Handlers that fail nearly always, and are paused until they work again.
    paused_handlers: Vec<&'static str>,
    /// Copies of other services' entities that their owners have not been asked for yet.
    unfilled_replicas: Vec<&'static str>,
    /// Everything else that degrades the bus, in words.
    bus: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Check {
    Up,
    Down,
}

impl From<bool> for Check {
    fn from(is_up: bool) -> Self {
        if is_up { Self::Up } else { Self::Down }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum BrokerCheck {
    /// The first attempt to connect has not ended yet.
    Connecting,
    Up,
    Down,
}

impl From<ConnectionState> for BrokerCheck {
    fn from(state: ConnectionState) -> Self {
        match state {
            ConnectionState::Connecting => Self::Connecting,
            ConnectionState::Connected => Self::Up,
            _ => Self::Down,
        }
    }
}

/// `/health/live` and `/health/ready`.
pub(crate) fn routes(health: Health) -> Router {
    Router::new()
        .route(
            "/health/live",
            get(async || Json(serde_json::json!({"status": "live"}))),
        )
        .route("/health/ready", get(ready))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> Response {
    let bus = health.bus.health();
    let checks = Checks {
        database: database::ping(&health.pool).await.is_ok().into(),
        broker: bus.broker.into(),
        service: health.readiness.get(),
        paused_handlers: bus.paused_handlers,
        unfilled_replicas: bus.unfilled_replicas,
        bus: bus.problems.iter().map(ToString::to_string).collect(),
    };
    let status = match &checks {
        Checks { service, .. } if *service != Progress::Prepared => Status::Starting,
        Checks {
            database: Check::Down,
            ..
        } => Status::Unavailable,
        Checks {
            broker,
            paused_handlers,
            bus,
            ..
        } if *broker != BrokerCheck::Up || !paused_handlers.is_empty() || !bus.is_empty() => {
            Status::Degraded
        }
        Checks { .. } => Status::Ready,
    };
    let code = match status {
        Status::Ready | Status::Degraded => StatusCode::OK,
        Status::Starting | Status::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    // A report is an answer, even with 503: the layer that explains refusals leaves it alone.
    let mut response = (code, Json(Report { status, checks })).into_response();
    response.extensions_mut().insert(Explained);
    response
}

/// Marks an answer whose body says enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Explained;

/// Lets requests in once the service is prepared: before, its tables may not be there.
pub(crate) async fn gate(
    State(readiness): State<Arc<Readiness>>,
    request: Request,
    next: Next,
) -> Response {
    match readiness.get() {
        Progress::Prepared => next.run(request).await,
        _ => Problem::unavailable("the service is starting").into_response(),
    }
}
