//! Hashing with Argon2id, a few at a time.
//!
//! One hash takes 19 MiB and some ten milliseconds of a processor (OWASP's parameters: m = 19 MiB,
//! t = 2, p = 1). Off the runtime's threads, and no more at once than there are processors: the
//! others wait their turn, and a flood of sign-ins can exhaust neither memory nor the threads that
//! everything else needs.

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

/// A hash to be stored, in PHC form. Not for logs, so it has no `Debug`.
#[derive(Clone)]
pub(crate) struct PasswordHash(String);

/// Why hashing failed; none of it is the client's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("the password could not be hashed")]
    Argon(#[source] ArgonError),
    #[error("the stored hash could not be read")]
    Stored(#[source] phc::Error),
    #[error("the thread that hashes is gone")]
    Thread(#[from] JoinError),
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        Self::internal(error)
    }
}

/// The most passwords hashed at once, on however many processors: each takes 19 MiB.
const MOST_TURNS: usize = 4;

/// Hashes and verifies passwords.
#[derive(Debug)]
pub(crate) struct Hasher {
    turns: Arc<Semaphore>,
}

impl Default for Hasher {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(processors.min(MOST_TURNS))),
        }
    }
}

/// The right to hash now. Held from before it is checked whether a sign-in may be tried at all,
/// so that no more guesses than there are turns can slip through that check at once.
#[derive(Debug)]
pub(crate) struct Turn(
    #[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>,
);

impl Hasher {
    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> Turn {
        // The semaphore is never closed; if it were, hashing without a turn would still be right.
        Turn(self.turns.clone().acquire_owned().await.ok())
    }

    /// The hash of a new password.
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

    /// Whether it is this password. With nothing to compare it takes as long, and it is not.
    pub(crate) async fn verify(
        &self,
        turn: Turn,
        password: SecretString,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashError> {
        spawn_blocking(move || {
            let _turn = turn;
            let Some(hash) = hash else {
                // The same work as for a stored hash, for nothing.
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
    /// What was stored.
    pub(super) fn stored(phc: String) -> Self {
        Self(phc)
    }

    /// What is to be stored.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_tells_its_own_password_from_others_and_has_owasps_parameters() {
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
