//! What others see of the bus, on real RabbitMQ, and the document that describes it.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

mod document;
mod support;
