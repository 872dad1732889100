//! The catalog as others see it: over HTTP and by message, on servers of its own.
#![expect(clippy::expect_used, reason = "what fails here has to fail the test")]

mod asyncapi;
mod authorization;
mod concurrency;
mod demo_data;
mod events;
mod listing;
mod openapi;
mod products;
mod refusals;
mod releasing;
mod reserving;
mod sessions;
mod support;
