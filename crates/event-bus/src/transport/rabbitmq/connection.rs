//! A connection that is always being brought back.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::StreamExt as _;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::screen;
use crate::signals;

/// A broker that accepts the TCP connection and then says nothing is given up after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// The backstop for a connection that ends without an event.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// One connection, kept up by a task of its own from the first time it is asked for.
#[derive(Clone)]
pub(super) struct Supervised(Arc<Shared>);

struct Shared {
    purpose: &'static str,
    addresses: Vec<AMQPUri>,
    closed: CancellationToken,
    current: OnceLock<watch::Receiver<Option<Arc<Connection>>>>,
}

impl Supervised {
    pub(super) fn new(
        purpose: &'static str,
        addresses: Vec<AMQPUri>,
        closed: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            purpose,
            addresses,
            closed,
            current: OnceLock::new(),
        }))
    }

    /// The connection, as soon as there is one; `None` once the transport is closed.
    pub(super) async fn get(&self) -> Option<Arc<Connection>> {
        let mut current = self.current();
        let up = |connection: &Option<Arc<Connection>>| {
            connection.as_ref().is_some_and(|c| c.status().connected())
        };
        tokio::select! {
            () = self.0.closed.cancelled() => None,
            connection = current.wait_for(up) => connection.ok()?.clone(),
        }
    }

    pub(super) fn connected(&self) -> bool {
        let connection = self.current().borrow().clone();
        connection.is_some_and(|c| c.status().connected())
    }

    /// Says good-bye to the broker, if it is there.
    pub(super) async fn close(&self) {
        let connection = self.current().borrow().clone();
        if let Some(connection) = connection {
            // It may be gone already, which is as good.
            let _ = timeout(CONNECT_TIMEOUT, connection.close(200, "bus stopped".into())).await;
        }
    }

    fn current(&self) -> watch::Receiver<Option<Arc<Connection>>> {
        self.0
            .current
            .get_or_init(|| {
                let (sender, receiver) = watch::channel(None);
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
    async fn keep_up(&self, current: watch::Sender<Option<Arc<Connection>>>) {
        loop {
            let connection = Arc::new(self.connect().await);
            let mut events = Box::pin(connection.events_listener());
            signals::connected(self.purpose);
            tracing::info!(purpose = self.purpose, "connected to the broker");
            current.send_replace(Some(connection.clone()));
            let reason = loop {
                match timeout(STATUS_INTERVAL, events.next()).await {
                    Ok(Some(Event::Error(error))) if !connection.status().connected() => {
                        break error.to_string();
                    }
                    Ok(Some(Event::ConnectionBlocked(reason))) => {
                        tracing::warn!(
                            purpose = self.purpose,
                            reason,
                            "the broker takes no messages"
                        );
                    }
                    Ok(None) => break "connection closed".to_owned(),
                    _ if !connection.status().connected() => break "connection lost".to_owned(),
                    Ok(Some(_)) | Err(_) => {}
                }
            };
            current.send_replace(None);
            tracing::warn!(
                purpose = self.purpose,
                reason,
                "lost the broker, reconnecting"
            );
        }
    }

    /// Tries the addresses in turn until one answers, with a delay after each that grows.
    async fn connect(&self) -> Connection {
        let mut delays = ExponentialBuilder::new()
            .with_min_delay(FIRST_DELAY)
            .with_max_delay(LONGEST_DELAY)
            .with_jitter()
            .without_max_times()
            .build();
        let mut said = false;
        for address in in_turn(&self.addresses) {
            let name = format!("event-bus {}", self.purpose);
            let properties = ConnectionProperties::default().with_connection_name(name.into());
            let error = match timeout(
                CONNECT_TIMEOUT,
                screen::connect(address.clone(), properties),
            )
            .await
            {
                Ok(Ok(connection)) => return connection,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            // One line when it begins, not one for every try.
            if !std::mem::replace(&mut said, true) {
                let host = format!("{}:{}", address.authority.host, address.authority.port);
                tracing::warn!(
                    purpose = self.purpose,
                    host,
                    error,
                    "the broker can't be reached, trying on"
                );
            }
            tokio::time::sleep(delays.next().unwrap_or(LONGEST_DELAY)).await;
        }
        // `RabbitMq::new` splits a string, which gives at least one address.
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
