//! What the bus promises, on real PostgreSQL and both transports.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

mod clocks;
mod cut_off;
mod dead_letters;
mod groups;
mod handling;
mod hostile;
mod housekeeping;
mod leases;
mod letters;
mod many_letters;
mod ordering;
mod own_failures;
mod pausing;
mod privileges;
mod publishing;
mod querying;
mod raw_amqp;
mod refusals;
mod relaying;
mod removed_handlers;
mod replaying;
mod replicas;
mod restarts;
mod scheduling;
mod secrets;
mod sessions;
mod settings;
mod slow_handlers;
mod support;
mod test_bus;
mod test_transport;
mod topology;
mod upcasting;
mod volume;
mod watching;
mod wire_proxy;
