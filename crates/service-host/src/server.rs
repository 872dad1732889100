//! Starting a service inside the process, and stopping it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use event_bus::{EventBus, RabbitMq};
use secrecy::ExposeSecret;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::app::{App, Background};
use crate::asyncapi;
use crate::config::{ConfigError, HostConfig};
use crate::database::OutdatedSessions;
use crate::health::{self, Health, Readiness};
use crate::json_body::MAX_BODY;
use crate::service::Service;
use crate::token::TokenVerifier;
use crate::{database, http_metrics, openapi, preparation, request_layers, second_try, telemetry};

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take to finish once the service is told to stop.
const REQUESTS_GRACE: Duration = Duration::from_secs(10);
/// How long the bus may take to settle what is under way. It bounds itself; this is the backstop.
const BUS_GRACE: Duration = Duration::from_secs(15);

/// Why a service could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A variable has a value that can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It can't listen where it was told to.
    #[error("{variable}: can't listen on {address}")]
    Listen {
        /// The variable that names the address.
        variable: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The service's handlers contradict each other.
    #[error("the handlers of messages are wrong")]
    Handlers(#[from] event_bus::StartError),
}

/// A service running inside this process. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct RunningService {
    /// Where the API listens.
    pub http_addr: SocketAddr,
    /// Where `/metrics` is.
    pub metrics_addr: SocketAddr,
    servers: TaskTracker,
    background: Background,
    bus: EventBus,
    pool: PgPool,
    stop_requests: CancellationToken,
    stop_bus: CancellationToken,
    #[cfg(feature = "testing")]
    pub(crate) routes: Router,
}

/// Starts a service. It returns as soon as it listens, whether or not database and broker are
/// there: the service waits for them, and `/health/ready` says so.
///
/// # Errors
///
/// If the configuration can't be used or an address is taken.
pub async fn start<S: Service>(
    config: HostConfig,
    settings: S::Settings,
) -> Result<RunningService, StartError> {
    config.check()?;
    S::check(&settings, config.runs_in.environment)?;
    telemetry::install(S::NAME, &config.log);
    let metrics = http_metrics::install();

    let http = listen("HTTP_ADDR", config.http.addr).await?;
    let metrics_listener = listen("METRICS_ADDR", config.http.metrics_addr).await?;
    let http_addr = local_addr(&http, "HTTP_ADDR", config.http.addr)?;
    let metrics_addr = local_addr(&metrics_listener, "METRICS_ADDR", config.http.metrics_addr)?;

    let (pool, outdated) = database::connect_lazily(S::NAME, &config.database)?;
    let stop_bus = CancellationToken::new();
    let broker = RabbitMq::new(config.broker.url.expose_secret())
        .map_err(|error| ConfigError::new("AMQP_URL", error.to_string()))?;
    let bus = S::handlers(EventBus::builder(S::NAME, pool.clone(), broker), &settings);
    let messages = asyncapi::document::<S>(&bus);
    let bus = bus.start(stop_bus.clone()).await?;
    let app = App::<S> {
        pool: pool.clone(),
        bus: bus.clone(),
        settings: Arc::new(settings),
        state: Arc::default(),
        environment: config.runs_in.environment,
        tokens: if S::ISSUES_TOKENS {
            TokenVerifier::told()
        } else {
            TokenVerifier::fetching()
        },
        background: Background::default(),
    };
    let background = app.background.clone();
    let readiness = Arc::new(Readiness::new());
    background.spawn(app.tokens.clone().keep_fetching(config.tokens.jwks_url));
    background.spawn(http_metrics::keep_tidy(metrics.clone()));
    background.spawn(preparation::run(app.clone(), readiness.clone()));

    let routes = routes(app, readiness, outdated, &messages);
    let running = RunningService {
        http_addr,
        metrics_addr,
        servers: TaskTracker::new(),
        background,
        bus,
        pool,
        stop_requests: CancellationToken::new(),
        stop_bus,
        #[cfg(feature = "testing")]
        routes: routes.clone(),
    };
    running.serve(http, routes);
    running.serve(metrics_listener, http_metrics::routes(metrics));
    tracing::info!(service = S::NAME, %http_addr, %metrics_addr, "listening");
    Ok(running)
}

async fn listen(variable: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            variable,
            address,
            source,
        })
}

fn local_addr(
    listener: &TcpListener,
    variable: &'static str,
    address: SocketAddr,
) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen {
        variable,
        address,
        source,
    })
}

/// All routes, with what happens around every request, outermost first.
fn routes<S: Service>(
    app: App<S>,
    readiness: Arc<Readiness>,
    outdated: OutdatedSessions,
    messages: &serde_json::Value,
) -> Router {
    let health = Health {
        readiness: readiness.clone(),
        pool: app.pool.clone(),
        bus: app.bus.clone(),
    };
    let (api, document) = openapi::describe::<S>();
    let timeout_status = axum::http::StatusCode::SERVICE_UNAVAILABLE;
    let around = ServiceBuilder::new()
        .layer(from_fn(request_layers::observe))
        .layer(from_fn(request_layers::explain))
        .layer(from_fn(request_layers::no_sniffing))
        .layer(TimeoutLayer::with_status_code(
            timeout_status,
            REQUEST_TIMEOUT,
        ))
        .layer(CatchPanicLayer::custom(request_layers::panicked))
        .layer(RequestBodyLimitLayer::new(MAX_BODY));
    Router::new()
        .merge(
            api.route_layer(from_fn_with_state(outdated, second_try::on_clean_sessions))
                .route_layer(from_fn_with_state(readiness, health::gate))
                .with_state(app),
        )
        .merge(health::routes(health))
        .merge(openapi::routes(document))
        .merge(asyncapi::routes(messages))
        .layer(around)
}

impl RunningService {
    fn serve(&self, listener: TcpListener, routes: Router) {
        let stop = self.stop_requests.clone();
        self.servers.spawn(async move {
            // Accepting never fails for good; it ends when it is told to.
            let _ = axum::serve(listener, routes)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await;
        });
    }

    /// Stops in order: no new requests, requests under way finish, then the bus settles what it
    /// has in hand. Each step is bounded, so that it ends in any case.
    pub async fn shutdown(self) {
        tracing::info!("stopping");
        self.stop_requests.cancel();
        self.servers.close();
        if timeout(REQUESTS_GRACE, self.servers.wait()).await.is_err() {
            tracing::warn!("requests were still under way; they are cut off");
        }
        self.background.shutdown.cancel();
        self.background.tasks.close();
        self.background.tasks.wait().await;
        self.stop_bus.cancel();
        if timeout(BUS_GRACE, self.bus.stopped()).await.is_err() {
            tracing::warn!("the bus did not settle in time; what was under way comes again");
        }
        // Idle connections are closed politely; a lost one must not hold up the end.
        let _ = timeout(Duration::from_secs(1), self.pool.close()).await;
        tracing::info!("stopped");
    }
}

impl Drop for RunningService {
    fn drop(&mut self) {
        self.stop_requests.cancel();
        self.background.shutdown.cancel();
        self.stop_bus.cancel();
    }
}
