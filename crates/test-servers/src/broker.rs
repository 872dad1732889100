//! A virtual host for one test.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use crate::environment::server_url;
use crate::management::Management;
use crate::{eventually, leftovers};

/// How long RabbitMQ's management may take to list a connection that was just opened.
const LISTED_WITHIN: Duration = Duration::from_secs(15);

/// A RabbitMQ virtual host of its own. It is deleted, with everything in it, some minutes after its
/// last connection has gone.
#[derive(Debug)]
pub struct TestBroker {
    broker: Url,
    management: Management,
    vhost: String,
}

/// A queue, as the management API last counted it.
///
/// RabbitMQ counts at intervals (seconds, unless configured otherwise), so a test asks
/// [`eventually`] for what it expects and never takes one look for the truth.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Queue {
    /// The queue's name.
    pub name: String,
    /// Messages in it, ready or delivered and not yet acknowledged.
    #[serde(default)]
    pub messages: u64,
    /// Messages that wait to be delivered.
    #[serde(default, rename = "messages_ready")]
    pub ready: u64,
    /// Messages that were delivered and not yet acknowledged.
    #[serde(default, rename = "messages_unacknowledged")]
    pub unacknowledged: u64,
    /// Whether it survives the broker's restart.
    pub durable: bool,
    /// `quorum`, `classic` or `stream`.
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// What leads from an exchange into a queue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Binding {
    /// The exchange's name; empty for the default exchange, to which every queue is bound.
    #[serde(rename = "source")]
    pub exchange: String,
    /// The routing key, or pattern of it.
    pub routing_key: String,
}

#[derive(Debug, Deserialize)]
struct Connection {
    name: String,
    /// The heartbeat interval that was agreed on.
    timeout: Option<u64>,
}

impl TestBroker {
    /// Makes a virtual host with a fresh name, which the user of `TEST_AMQP_URL` may use freely.
    ///
    /// # Panics
    ///
    /// If the management API can't be reached or refuses.
    pub async fn create() -> Self {
        let broker = Self {
            broker: server_url("TEST_AMQP_URL"),
            management: Management::new(server_url("TEST_RABBITMQ_MANAGEMENT_URL")),
            vhost: leftovers::fresh_name(),
        };
        leftovers::delete(&broker.management).await;
        let user = broker.broker.username();
        let management = &broker.management;
        management.put(&["vhosts", &broker.vhost], "{}").await;
        management
            .put(
                &["permissions", &broker.vhost, user],
                r#"{"configure": ".*", "write": ".*", "read": ".*"}"#,
            )
            .await;
        broker
    }

    /// The URL by which a client connects, as `amqp://user:password@host:port/vhost`.
    #[must_use]
    pub fn url(&self) -> String {
        let mut url = self.broker.clone();
        url.set_path(&self.vhost);
        url.into()
    }

    /// The virtual host's name.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// All queues of the virtual host.
    ///
    /// # Panics
    ///
    /// If the management API can't be reached.
    pub async fn queues(&self) -> Vec<Queue> {
        self.management
            .get(
                &["queues", &self.vhost],
                "disable_stats=true&enable_queue_totals=true",
            )
            .await
    }

    /// The queue with this name, if it is there.
    ///
    /// # Panics
    ///
    /// If the management API can't be reached.
    pub async fn queue(&self, name: &str) -> Option<Queue> {
        self.queues()
            .await
            .into_iter()
            .find(|queue| queue.name == name)
    }

    /// What leads into the queue with this name; nothing if there is no such queue.
    ///
    /// # Panics
    ///
    /// If the management API can't be reached.
    pub async fn bindings(&self, queue: &str) -> Vec<Binding> {
        if self.queue(queue).await.is_none() {
            return Vec::new();
        }
        self.management
            .get(&["queues", &self.vhost, queue, "bindings"], "")
            .await
    }

    /// Declares a durable queue with these arguments (a JSON object), as an operator would.
    ///
    /// # Panics
    ///
    /// As all methods that change something: if the management API can't be reached or refuses.
    pub async fn declare_queue(&self, queue: &str, arguments: &str) {
        let body = format!(r#"{{"durable": true, "arguments": {arguments}}}"#);
        self.management
            .put(&["queues", &self.vhost, queue], body)
            .await;
    }

    /// Deletes a queue with what it holds.
    ///
    /// # Panics
    ///
    /// As for [`declare_queue`](Self::declare_queue).
    pub async fn delete_queue(&self, queue: &str) {
        self.management
            .delete(&["queues", &self.vhost, queue])
            .await;
    }

    /// Deletes an exchange with its bindings.
    ///
    /// # Panics
    ///
    /// As for [`declare_queue`](Self::declare_queue).
    pub async fn delete_exchange(&self, exchange: &str) {
        self.management
            .delete(&["exchanges", &self.vhost, exchange])
            .await;
    }

    /// Deletes the binding of a queue, or of an exchange if `to` is `e` instead of `q`.
    ///
    /// # Panics
    ///
    /// As for [`declare_queue`](Self::declare_queue).
    pub async fn delete_binding(&self, exchange: &str, to: &str, destination: &str, key: &str) {
        let path = ["bindings", &self.vhost, "e", exchange, to, destination, key];
        self.management.delete(&path).await;
    }

    /// A user with the given password and permissions, each a regular expression of names. Returns
    /// the URL by which the user connects; the password is percent-encoded there.
    ///
    /// Calling it again changes the user. The user has the name of the virtual host, and is deleted
    /// with it.
    ///
    /// # Panics
    ///
    /// As for [`declare_queue`](Self::declare_queue).
    pub async fn user(&self, password: &str, configure: &str, write: &str, read: &str) -> String {
        let body = format!(r#"{{"password": {password:?}, "tags": ""}}"#);
        self.management.put(&["users", &self.vhost], body).await;
        let body =
            format!(r#"{{"configure": {configure:?}, "write": {write:?}, "read": {read:?}}}"#);
        let path = ["permissions", &self.vhost, &self.vhost];
        self.management.put(&path, body).await;
        let encoded = password.bytes().map(|byte| format!("%{byte:02X}"));
        let encoded: String = encoded.collect();
        let mut url = self.broker.clone();
        url.set_path(&self.vhost);
        url.set_username(&self.vhost)
            .and_then(|()| url.set_password(Some(&encoded)))
            .expect("a URL with a host can have a user");
        url.into()
    }

    /// The heartbeat intervals of the virtual host's connections, in seconds.
    ///
    /// # Panics
    ///
    /// If the management API can't be reached.
    pub async fn heartbeats(&self) -> Vec<u64> {
        let path = ["vhosts", &self.vhost, "connections"];
        let connections: Vec<Connection> = self.management.get(&path, "").await;
        connections.into_iter().filter_map(|c| c.timeout).collect()
    }

    /// Closes all connections to the virtual host from the broker's side, as an operator would,
    /// and tells how many there were. There has to be one: RabbitMQ lists a connection some time
    /// after it was opened, so this waits until the list is no longer empty.
    ///
    /// # Panics
    ///
    /// If no connection shows up within seconds, or the management API can't be reached.
    pub async fn close_connections(&self) -> usize {
        let connections = eventually(
            "the broker lists a connection of the virtual host",
            LISTED_WITHIN,
            async || {
                let found: Vec<Connection> = self
                    .management
                    .get(&["vhosts", &self.vhost, "connections"], "")
                    .await;
                (!found.is_empty()).then_some(found)
            },
        )
        .await;
        for connection in &connections {
            self.management
                .delete(&["connections", &connection.name])
                .await;
        }
        connections.len()
    }
    /// Lets the user of `TEST_AMQP_URL` publish to an exchange only what has a routing key that the
    /// regular expression matches.
    ///
    /// # Panics
    ///
    /// If the management API can't be reached or refuses.
    pub async fn restrict_topics(&self, exchange: &str, routing_keys: &str) {
        let body =
            format!(r#"{{"exchange": {exchange:?}, "write": {routing_keys:?}, "read": ".*"}}"#);
        let path = ["topic-permissions", &self.vhost, self.broker.username()];
        self.management.put(&path, body).await;
    }
}
