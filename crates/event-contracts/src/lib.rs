//! The messages that Waybill's services exchange. The services share no other domain code.
//!
//! An ETO (event transfer object) is plain data in camelCase JSON, with a name and a version.
//! Each version has an example in `golden/`. A test reads it with the current types, so that an
//! incompatible change fails the test.
//!
//! Each publishing service has a module and a Cargo feature of the same name. No feature is enabled
//! by default: a service enables those whose messages it publishes or receives.
//!
//! To add a message:
//!
//! 1. Write the struct in the module of the publishing service, and derive [`event_bus::Message`]
//!    with a `schema`.
//! 2. Add an example to the module's file in `tests/golden/`, and run that test once with
//!    `UPDATE_GOLDEN=1`.
//! 3. Add the message to those that the service declares as published.
//!
//! A field that is added later is an `Option` with
//! `#[serde(default, skip_serializing_if = "Option::is_none")]`. Any other change needs a new
//! version, see [`event_bus::Message::upcast`]. Keep the golden files of an older version for as
//! long as such messages may still be delivered.

#[cfg(feature = "catalog")]
pub mod catalog;
#[cfg(feature = "identity")]
pub mod identity;
#[cfg(feature = "ordering")]
pub mod ordering;
