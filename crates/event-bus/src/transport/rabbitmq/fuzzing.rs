//! What `fuzz/` drives: there only in a build for fuzzing.

use bytes::Bytes;
use lapin::BasicProperties;

use super::{screen, wire};
use crate::envelope::Envelope;
use crate::message::Kind;

/// What of incoming bytes passes the screen, when they are read in pieces of these sizes, the last
/// one as often as needed.
#[must_use]
pub fn screened(bytes: &[u8], pieces: &[usize]) -> Vec<u8> {
    screen::screened(bytes, pieces)
}

/// Reads a message.
///
/// # Errors
///
/// If it is none: the reason.
pub fn read(kind: Kind, properties: &BasicProperties, body: &Bytes) -> Result<Envelope, String> {
    wire::envelope(kind, properties, body)
}

/// The properties that an envelope is published with.
#[must_use]
pub fn write(envelope: &Envelope) -> BasicProperties {
    wire::properties(envelope)
}
