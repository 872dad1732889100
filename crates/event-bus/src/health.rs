//! What a bus reports of its own state.

pub use crate::conditions::HealthProblem;

/// The state of a bus at one moment, see [`EventBus::health`](crate::EventBus::health).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusHealth {
    /// Whether the broker is connected. If not, messages wait in the outbox and nothing is lost.
    pub broker_connected: bool,
    /// Handlers that nearly always fail and are paused, see [`KillSwitch`](crate::KillSwitch).
    /// Their messages are stored.
    pub paused_handlers: Vec<&'static str>,
    /// Replicas that are not filled yet, or are being refilled.
    pub unfilled_replicas: Vec<&'static str>,
    /// Everything else that degrades the bus, each with its reason in words.
    pub problems: Vec<HealthProblem>,
}
