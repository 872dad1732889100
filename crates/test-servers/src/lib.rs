//! What a test needs from real servers: a database and a virtual host of its own, a network that
//! can be cut, and a way to wait without sleeping.
//!
//! The servers themselves come from outside, by three variables that `scripts/with-servers` sets:
//!
//! | variable | what it is |
//! | --- | --- |
//! | `TEST_POSTGRES_URL` | a superuser's URL of a PostgreSQL server |
//! | `TEST_AMQP_URL` | a RabbitMQ server, as `amqp://user:password@host:port` |
//! | `TEST_RABBITMQ_MANAGEMENT_URL` | its management API, as `http://user:password@host:port` |
//!
//! Names are unique, so tests run in parallel, in one process or in many. A database goes when its
//! owner is dropped, also when the test panics; a virtual host some minutes later, when another one
//! is made. What a killed process leaves behind goes with the servers; nothing here ever touches
//! what another test uses.
//!
//! ```no_run
//! use std::time::Duration;
//! use test_servers::{TestBroker, TestDatabase, eventually};
//!
//! # async fn example() {
//! let database = TestDatabase::create(&["catalog", "ordering"]).await;
//! let broker = TestBroker::create().await;
//! let pool = database.pool("catalog").await;
//! eventually("nothing waits at the broker", Duration::from_secs(10), async || {
//!     broker.queues().await.iter().all(|queue| queue.messages == 0).then_some(())
//! })
//! .await;
//! # }
//! ```
#![expect(
    clippy::expect_used,
    reason = "only tests use this crate, and what fails here has to fail the test"
)]

#[cfg(feature = "asyncapi")]
mod asyncapi;
mod broker;
mod clean_up;
mod cut_off;
mod database;
mod environment;
mod eventually;
mod fault_proxy;
mod install_once;
mod leftovers;
mod management;

#[cfg(feature = "asyncapi")]
pub use asyncapi::AsyncApiSchema;
pub use broker::{Binding, Queue, TestBroker};
pub use cut_off::cut_everywhere;
pub use database::{TableChange, TestDatabase};
pub use eventually::eventually;
pub use fault_proxy::FaultProxy;
pub use install_once::install_once;
