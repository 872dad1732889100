//! Messages that could not be handled, kept for an operator.
//!
//! A message becomes a dead letter in the transaction that gives up on it, and leaves in the one
//! that replays or discards it. So it is always in exactly one place: on its way, waiting for an
//! attempt, or here.

mod bury;
mod discard;
mod handle;
mod letter;
mod pages;
mod reason;
mod replay;
mod storage;

pub use handle::{BulkMode, DeadLetters};
pub use letter::{DeadLetterDetails, DeadLetterFilter, DeadLetterSummary};
pub use reason::DeadLetterReason;
pub use replay::{NotReplayable, ReplayOutcome, ReplayReport};

pub(crate) use bury::{DeadLetter, insert, storable};
pub(crate) use discard::expire;
pub(crate) use reason::DeadLetterReason as Reason;
