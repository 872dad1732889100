//! What the bus promises, on real PostgreSQL and both transports.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

mod handling;
mod hostile;
mod housekeeping;
mod letters;
mod publishing;
mod querying;
mod relaying;
mod support;
