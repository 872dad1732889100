//! Tests of identity over HTTP, on a real database and a real broker.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod asyncapi;
mod authorization;
mod command_line;
mod database_sessions;
mod document;
mod events;
mod keys;
mod sessions;
mod support;
mod users;
