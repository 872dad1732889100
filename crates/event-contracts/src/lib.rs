//! The messages that the services of Waybill exchange: all that they share of the domain.
//!
//! An ETO (event transfer object) is plain data in camelCase JSON, with a name and a version.
//! Each version has a file in `golden/` that a test reads with the present types, so that a change
//! which an older participant can't read fails a test.
//!
//! Each publishing service has a module and a Cargo feature of the same name, none of them on by
//! default: a service sees the messages that it publishes or receives.
//!
//! To add a message: write the struct in the module of the service that publishes it, implement
//! [`event_bus::Message`] with [`event_bus::json_schema!`], add an example to the module's file in
//! `tests/golden/` and run that test once with `UPDATE_GOLDEN=1`; then add it to the messages that
//! the service declares as published. A field that comes later is an `Option` with
//! `#[serde(default, skip_serializing_if = "Option::is_none")]`. Any other change is a new version,
//! see [`event_bus::Message::upcast`]. The golden files of older versions stay for as long as such
//! messages may arrive.

#[cfg(feature = "catalog")]
pub mod catalog;
#[cfg(feature = "identity")]
pub mod identity;
#[cfg(feature = "ordering")]
pub mod ordering;
