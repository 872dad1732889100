//! event-contracts.
