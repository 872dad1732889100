//! The messages that the services of Waybill exchange: all that they share of the domain.
//!
//! An ETO (event transfer object) is plain data in camelCase JSON, with a name and a version.
//! Each version has a file in `golden/` that a test reads with the present types, so a change that
//! an old participant could not read does not get through unnoticed.
//!
//! To add one: write the struct in the module of the service that publishes it, implement
//! [`event_bus::Message`] with [`event_bus::json_schema!`], add an example to `tests/golden.rs` and
//! run that test once with `UPDATE_GOLDEN=1`; then name it where the service says what it publishes.
//! A field that comes later is an `Option` with
//! `#[serde(default, skip_serializing_if = "Option::is_none")]`; anything else is a new version,
//! which [`event_bus::Message::upcast`] shows how to make. The golden files of older versions stay:
//! they have to be readable for as long as such messages may come.

pub mod catalog;
pub mod identity;
pub mod ordering;
