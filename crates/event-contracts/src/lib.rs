//! The messages that the services of Waybill exchange: all that they share of the domain.
//!
//! An ETO (event transfer object) is plain data in camelCase JSON, with a name and a version.
//! Each version has a file in `golden/` that a test reads with the present types, so a change that
//! an old participant could not read does not get through unnoticed.
//!
//! To add one: write the struct in the module of the service that publishes it, implement
//! [`event_bus::Message`], add an example to `tests/golden.rs` and run that test once with
//! `UPDATE_GOLDEN=1`. A field that comes later is an `Option` with
//! `#[serde(default, skip_serializing_if = "Option::is_none")]`; anything else is a new version.

pub mod catalog;
pub mod identity;
pub mod ordering;
