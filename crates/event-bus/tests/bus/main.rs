//! What the bus promises, on real PostgreSQL and both transports.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

mod clocks;
mod dead_letters;
mod groups;
mod handling;
mod hostile;
mod housekeeping;
mod letters;
mod many_letters;
mod ordering;
mod own_failures;
mod pausing;
mod publishing;
mod querying;
mod raw_amqp;
mod relaying;
mod replaying;
mod replicas;
mod restarts;
mod scheduling;
mod secrets;
mod slow_handlers;
mod support;
mod test_bus;
mod test_transport;
mod upcasting;
mod volume;
mod watching;
