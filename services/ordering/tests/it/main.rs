//! Ordering as its clients and the other services see it: over HTTP and by messages, with real
//! servers and a stand-in for catalog that is a participant of the bus like any other.
#![expect(clippy::unwrap_used, reason = "what fails here has to fail the test")]

mod asyncapi;
mod authorization;
mod backpressure;
mod cancelling;
mod coalescing;
mod customers;
mod openapi;
mod placing;
mod prices;
mod products;
mod reading;
mod refusals;
mod replicas;
mod sessions;
mod stock;
mod support;
