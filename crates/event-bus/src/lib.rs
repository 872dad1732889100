//! event-bus.
