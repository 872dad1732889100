//! A connection that is re-established whenever it is lost.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::{Stream, StreamExt as _};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::screen;
use crate::conditions::Conditions;
use crate::signals;
use crate::transport::ConnectionState;

/// A broker that accepts the TCP connection and then says nothing is given up after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// The backstop for a connection that ends without an event.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// One connection, kept up by a task of its own from [`begin`](Self::begin) or the first use on.
#[derive(Clone)]
pub(super) struct Supervised(Arc<Shared>);

struct Shared {
    purpose: &'static str,
    addresses: Vec<AMQPUri>,
    closed: CancellationToken,
    conditions: Conditions,
    current: OnceLock<watch::Receiver<Current>>,
}

/// How far the connection is.
#[derive(Clone)]
enum Current {
    /// No attempt has ended yet.
    Connecting,
    Up(Arc<Connection>),
    Down,
}

impl Current {
    fn connection(&self) -> Option<&Arc<Connection>> {
        match self {
            Self::Up(connection) if connection.status().connected() => Some(connection),
            Self::Up(_) | Self::Connecting | Self::Down => None,
        }
    }
}

impl Supervised {
    pub(super) fn new(
        purpose: &'static str,
        addresses: Vec<AMQPUri>,
        closed: CancellationToken,
        conditions: Conditions,
    ) -> Self {
        Self(Arc::new(Shared {
            purpose,
            addresses,
            closed,
            conditions,
            current: OnceLock::new(),
        }))
    }

    /// Begins to connect, unless it has begun.
    pub(super) fn begin(&self) {
        self.current();
    }

    /// The connection, as soon as there is one; `None` once the transport is closed.
    pub(super) async fn get(&self) -> Option<Arc<Connection>> {
        let mut current = self.current();
        let up = |current: &Current| current.connection().is_some();
        tokio::select! {
            () = self.0.closed.cancelled() => None,
            current = current.wait_for(up) => current.ok()?.connection().cloned(),
        }
    }

    pub(super) fn connected(&self) -> bool {
        self.current().borrow().connection().is_some()
    }

    pub(super) fn state(&self) -> ConnectionState {
        match &*self.current().borrow() {
            Current::Connecting => ConnectionState::Connecting,
            Current::Up(connection) if connection.status().connected() => {
                ConnectionState::Connected
            }
            Current::Up(_) | Current::Down => ConnectionState::Disconnected,
        }
    }

    /// Closes the connection properly if the broker answers in time.
    ///
    /// One that is blocked sends nothing, and one that is silent answers nothing.
    pub(super) async fn close(&self, within: Duration) {
        let connection = self.current().borrow().connection().cloned();
        if let Some(connection) = connection {
            // One that is lost already needs no closing.
            let _ = timeout(within, connection.close(200, "bus stopped".into())).await;
        }
    }

    fn current(&self) -> watch::Receiver<Current> {
        self.0
            .current
            .get_or_init(|| {
                let (sender, receiver) = watch::channel(Current::Connecting);
                let shared = self.0.clone();
                tokio::spawn(async move {
                    let closed = shared.closed.clone();
                    closed.run_until_cancelled(shared.keep_up(sender)).await;
                });
                receiver
            })
            .clone()
    }
}

impl Shared {
    fn subject(&self) -> String {
        format!("broker connection ({})", self.purpose)
    }

    async fn keep_up(&self, current: watch::Sender<Current>) {
        loop {
            let connection = Arc::new(self.connect(&current).await);
            let events = connection.events_listener();
            signals::connected(self.purpose);
            self.conditions.clear(&self.subject());
            tracing::info!(purpose = self.purpose, "connected to the broker");
            current.send_replace(Current::Up(connection.clone()));
            let reason = self.watch(&connection, events).await;
            current.send_replace(Current::Down);
            let reason = format!("the connection was lost ({reason}); reconnecting");
            self.conditions.raise(&self.subject(), reason);
        }
    }

    /// Reports what the broker says of a connection until it is lost. Returns why it was.
    async fn watch(&self, connection: &Connection, events: impl Stream<Item = Event>) -> String {
        let mut events = Box::pin(events);
        loop {
            match timeout(STATUS_INTERVAL, events.next()).await {
                Ok(Some(Event::Error(error))) if !connection.status().connected() => {
                    return error.to_string();
                }
                Ok(Some(Event::ConnectionBlocked(reason))) => self.conditions.raise(
                    &self.subject(),
                    format!(
                        "the broker has blocked the connection ({reason}); \
                         messages stay in the outbox until it accepts them again"
                    ),
                ),
                Ok(Some(Event::ConnectionUnblocked)) => self.conditions.clear(&self.subject()),
                Ok(None) => return "connection closed".to_owned(),
                _ if !connection.status().connected() => return "connection closed".to_owned(),
                Ok(Some(_)) | Err(_) => {}
            }
        }
    }

    /// Tries the addresses in turn until one answers, with a delay after each that grows.
    async fn connect(&self, current: &watch::Sender<Current>) -> Connection {
        let mut delays = ExponentialBuilder::new()
            .with_min_delay(FIRST_DELAY)
            .with_max_delay(LONGEST_DELAY)
            .with_jitter()
            .without_max_times()
            .build();
        for address in in_turn(&self.addresses) {
            let name = format!("event-bus {}", self.purpose);
            let properties = ConnectionProperties::default().with_connection_name(name.into());
            let connecting = screen::connect(address.clone(), properties);
            let error = match timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(connection)) => return connection,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {CONNECT_TIMEOUT:?}"),
            };
            current.send_replace(Current::Down);
            let (host, port) = (&address.authority.host, address.authority.port);
            let reason = format!("can't connect to {host}:{port}: {error}");
            self.conditions.raise(&self.subject(), reason);
            tokio::time::sleep(delays.next().unwrap_or(LONGEST_DELAY)).await;
        }
        // `address::parse` splits a string, which gives at least one address.
        unreachable!("there is at least one address to cycle through")
    }
}

/// The addresses, again and again, beginning with any of them: were it always the first one, all
/// instances of all services would be on the same node of a cluster.
fn in_turn<T>(addresses: &[T]) -> impl Iterator<Item = &T> {
    let (random, ..) = Uuid::new_v4().as_fields();
    let first = random as usize % addresses.len();
    addresses.iter().cycle().skip(first)
}

/// The addresses hold passwords.
impl fmt::Debug for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervised({})", self.0.purpose)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_address_is_tried_and_each_is_the_first_one_for_somebody() {
        let addresses = ["one", "two", "three"];
        let mut first = BTreeSet::new();
        for _ in 0..200 {
            let tried: Vec<_> = in_turn(&addresses).take(3).collect();
            let all: BTreeSet<_> = tried.iter().collect();
            assert_eq!(all.len(), 3, "{tried:?}");
            first.insert(tried[0]);
        }
        assert_eq!(first.len(), 3, "{first:?}");
    }
}
