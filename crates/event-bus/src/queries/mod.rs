//! Queries: asking, answering, and what is measured of both.
//!
//! A query changes nothing, so nothing of it touches the database: no outbox, no inbox, no retry.
//! Whoever asks waits, knows when to give up, and may ask again.

mod asking;
mod responder;
mod responding;
mod signals;

pub use self::asking::RequestError;
pub use self::responder::{RespondError, Responder};
pub(crate) use self::responding::{ResponderEntry, check_single};

use serde::{Deserialize, Serialize};

/// The body of a reply that says the responder failed.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    detail: String,
}
