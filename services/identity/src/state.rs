//! Identity's in-memory state.

use crate::keys::KeyRing;
use crate::passwords::Hasher;

/// Identity's in-memory state.
#[derive(Debug, Default)]
pub struct State {
    /// Hashes passwords, a few at a time.
    pub(crate) hasher: Hasher,
    /// The keys that sign access tokens.
    pub(crate) keys: KeyRing,
}
