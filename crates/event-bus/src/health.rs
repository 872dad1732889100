//! What a bus reports of its own state.

pub use crate::conditions::HealthProblem;
use crate::transport::ConnectionState;

/// The state of a bus at one moment, see [`EventBus::health`](crate::EventBus::health).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusHealth {
    /// How far the connection to the broker is. While there is none, messages wait in the outbox
    /// and nothing is lost; why there is none is among the [`problems`](Self::problems).
    pub broker: ConnectionState,
    /// Whether [`broker`](Self::broker) is connected.
    pub broker_connected: bool,
    /// Handlers that nearly always fail and are paused, see [`KillSwitch`](crate::KillSwitch).
    /// Their messages are stored.
    pub paused_handlers: Vec<&'static str>,
    /// Replicas that are not filled yet, or are being refilled.
    pub unfilled_replicas: Vec<&'static str>,
    /// Everything else that degrades the bus, each with its reason in words.
    pub problems: Vec<HealthProblem>,
}
