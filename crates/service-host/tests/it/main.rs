//! A small service on the host, with real servers: what it refuses, and how it lives.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that can't go on fails"
)]

mod lifecycle;
mod notes;
mod refusals;
mod support;
mod tokens;
