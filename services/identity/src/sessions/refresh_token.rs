//! Refresh tokens.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

/// Random bytes in a token.
const LENGTH: usize = 32;

/// A refresh token. Only the client has it; the service stores its hash.
#[derive(Debug)]
pub(super) struct RefreshToken(SecretString);

/// The system's random number generator failed.
#[derive(Debug, thiserror::Error)]
#[error("the system's random number generator failed")]
pub(super) struct NoRandomness;

impl RefreshToken {
    pub(super) fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; LENGTH];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// Wraps text that a client sent. Only a lookup shows whether it is a known token.
    pub(super) fn presented(text: SecretString) -> Self {
        Self(text)
    }

    /// The SHA-256 hash that is stored instead of the token.
    pub(super) fn hash(&self) -> Vec<u8> {
        let text = self.0.expose_secret().as_bytes();
        digest::digest(&digest::SHA256, text).as_ref().to_vec()
    }

    /// The text to send to the client.
    pub(super) fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presented_token_has_the_stored_hash_and_tokens_are_unique() {
        let token = RefreshToken::generate().unwrap();
        let back = RefreshToken::presented(token.reveal().into());
        assert_eq!(back.hash(), token.hash());
        assert_ne!(RefreshToken::generate().unwrap().hash(), token.hash());
        assert_eq!(token.reveal().len(), 43);
    }
}
