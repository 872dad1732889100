//! Refresh tokens.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

/// Bytes of randomness in a token.
const LENGTH: usize = 32;

/// A refresh token, known to its owner alone. The service keeps its hash.
#[derive(Debug)]
pub(super) struct RefreshToken(SecretString);

/// The system has no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system has no randomness")]
pub(super) struct NoRandomness;

impl RefreshToken {
    pub(super) fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; LENGTH];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// What a client sent. Whether it is one shows when it is looked for.
    pub(super) fn presented(text: SecretString) -> Self {
        Self(text)
    }

    /// SHA-256, under which it is stored.
    pub(super) fn hash(&self) -> Vec<u8> {
        let text = self.0.expose_secret().as_bytes();
        digest::digest(&digest::SHA256, text).as_ref().to_vec()
    }

    /// The text for its owner.
    pub(super) fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_under_the_same_hash_and_no_two_are_alike() {
        let token = RefreshToken::generate().unwrap();
        let back = RefreshToken::presented(token.reveal().into());
        assert_eq!(back.hash(), token.hash());
        assert_ne!(RefreshToken::generate().unwrap().hash(), token.hash());
        assert_eq!(token.reveal().len(), 43);
    }
}
