//! What others see of the bus, and what it takes from them, on real RabbitMQ: independent
//! implementations of CloudEvents, a client in another language, tracing, and the document that
//! describes it all.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

mod cloud_events_sdk;
mod document;
mod hand_written;
mod python;
mod support;
mod tracing;
