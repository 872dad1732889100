//! Hashes passwords with Argon2id, a few at a time.
//!
//! One hash takes 19 MiB of memory and about ten milliseconds of CPU time (OWASP's parameters:
//! m = 19 MiB, t = 2, p = 1). Hashes are computed outside the runtime's worker threads, and no more
//! at once than there are processors; further requests wait. A flood of sign-ins can therefore
//! exhaust neither the memory nor the threads that the rest of the service needs.

use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::Argon2;
use argon2::password_hash::phc;
use argon2::password_hash::{Error as ArgonError, PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use service_host::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};

use super::Password;

/// A password hash in PHC string format. It must not be logged, so it does not implement `Debug`.
#[derive(Clone)]
pub(crate) struct PasswordHash(String);

/// Why hashing or verifying failed. The client causes none of these errors.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("failed to hash the password")]
    Argon(#[source] ArgonError),
    #[error("failed to parse the stored hash")]
    Stored(#[source] phc::Error),
    #[error("the hashing task panicked or was cancelled")]
    Thread(#[from] JoinError),
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        Self::internal(error)
    }
}

/// Maximum number of concurrent hashes, also with more processors: each hash takes 19 MiB.
const MAX_CONCURRENT_HASHES: usize = 4;

/// Hashes and verifies passwords.
#[derive(Debug)]
pub(crate) struct Hasher {
    turns: Arc<Semaphore>,
}

impl Default for Hasher {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(processors.min(MAX_CONCURRENT_HASHES))),
        }
    }
}

/// A permit to compute one hash.
///
/// A sign-in acquires its turn before it checks whether the user name is blocked. Otherwise any
/// number of concurrent guesses could pass that check before the first failure is counted.
#[derive(Debug)]
pub(crate) struct Turn(
    #[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>,
);

impl Hasher {
    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> Turn {
        // The semaphore is never closed; if it were, hashing without a turn would still be correct.
        Turn(self.turns.clone().acquire_owned().await.ok())
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        let turn = self.turn().await;
        spawn_blocking(move || {
            let _turn = turn;
            let hash: phc::PasswordHash = Argon2::default()
                .hash_password(password.as_bytes())
                .map_err(HashError::Argon)?;
            Ok(PasswordHash(hash.to_string()))
        })
        .await?
    }

    /// Returns whether the password matches the hash.
    ///
    /// Without a hash it returns `false` after the same time, so that the response time does not
    /// reveal whether a user exists.
    pub(crate) async fn verify(
        &self,
        turn: Turn,
        password: SecretString,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashError> {
        spawn_blocking(move || {
            let _turn = turn;
            let Some(hash) = hash else {
                // Do the same work as for a stored hash, and discard the result.
                let wasted: Result<phc::PasswordHash, _> =
                    Argon2::default().hash_password(password.expose_secret().as_bytes());
                return wasted.map(|_| false).map_err(HashError::Argon);
            };
            let hash = phc::PasswordHash::new(&hash.0).map_err(HashError::Stored)?;
            match Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash) {
                Ok(()) => Ok(true),
                Err(ArgonError::PasswordInvalid) => Ok(false),
                Err(error) => Err(HashError::Argon(error)),
            }
        })
        .await?
    }
}

impl PasswordHash {
    /// Wraps a stored PHC string.
    pub(super) fn stored(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string to store.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_matches_only_its_own_password_and_uses_owasp_parameters() {
        let hasher = Hasher::default();
        let password = Password::parse("correct horse".into()).unwrap();
        let hash = hasher.hash(password).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        for (guess, hash, expected) in [
            ("correct horse", Some(hash.clone()), true),
            ("wrong horse", Some(hash), false),
            ("correct horse", None, false),
        ] {
            let turn = hasher.turn().await;
            assert_eq!(
                hasher.verify(turn, guess.into(), hash).await.unwrap(),
                expected
            );
        }
    }
}
