//! A key pair that signs access tokens.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm,
    OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use service_host::Claims;

/// An Ed25519 key pair and its id. It holds a secret, so it does not implement `Debug`.
pub(crate) struct SigningKey {
    kid: String,
    pkcs8: Vec<u8>,
    jwk: Jwk,
}

/// Why a key can't be generated or loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("failed to generate an Ed25519 key")]
    Generate(#[from] aws_lc_rs::error::Unspecified),
    #[error("a stored key is not an Ed25519 key")]
    Stored(#[from] aws_lc_rs::error::KeyRejected),
    #[error("failed to compute the thumbprint of a key")]
    Thumbprint(#[from] jsonwebtoken::errors::Error),
}

impl SigningKey {
    pub(super) fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate()?;
        let pkcs8 = pair.to_pkcs8()?;
        Self::from_pair(&pair, pkcs8.as_ref().to_vec())
    }

    /// Restores a stored key.
    pub(super) fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8)?;
        Self::from_pair(&pair, pkcs8)
    }

    fn from_pair(pair: &Ed25519KeyPair, pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let mut jwk = Jwk {
            common: CommonParameters {
                public_key_use: Some(PublicKeyUse::Signature),
                key_algorithm: Some(KeyAlgorithm::EdDSA),
                ..CommonParameters::default()
            },
            algorithm: AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: BASE64_URL_SAFE_NO_PAD.encode(pair.public_key()),
            }),
        };
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        Ok(Self { kid, pkcs8, jwk })
    }

    /// The key's id, which is its thumbprint (RFC 7638).
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key (RFC 8037).
    pub(super) fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// The key pair in PKCS #8 form, for storage.
    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Signs a token with these claims.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&self.pkcs8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_key_is_the_same_key() {
        let key = SigningKey::generate().unwrap();
        let stored = SigningKey::from_pkcs8(key.pkcs8().to_vec()).unwrap();
        assert_eq!(stored.kid(), key.kid());
        assert_eq!(stored.jwk(), key.jwk());
    }

    #[test]
    fn only_the_public_key_is_published() {
        let key = SigningKey::generate().unwrap();
        let jwk = serde_json::to_value(key.jwk()).unwrap();
        let mut members: Vec<_> = jwk.as_object().unwrap().keys().cloned().collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
    }
}
