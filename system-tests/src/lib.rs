//! The whole system as its users have it: the three services as processes of their own, on real
//! servers, spoken to over HTTP alone.
//!
//! [`System::start`] gives a test a database and a virtual host of its own on the servers that
//! `scripts/with-servers` has started, and runs the services on free ports. A test that stops a
//! server starts one of its own, by [`PrivateServer`], or a [`Cluster`] of brokers. What a test started
//! ends with it.
#![expect(
    clippy::expect_used,
    reason = "only tests use this crate, and what fails here has to fail the test"
)]

mod api;
mod binaries;
mod cluster;
mod load;
mod process;
mod server;
mod system;

pub use api::{Answer, Api};
pub use cluster::{Cluster, QuorumQueue};
pub use load::Load;
pub use process::{Name, ServiceProcess};
pub use server::PrivateServer;
pub use system::{PRODUCT_A, System, Urls};

/// The code of the project's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
