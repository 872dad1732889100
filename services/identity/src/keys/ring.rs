//! The signing keys in memory.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::jwk::JwkSet;
use service_host::{Claims, Problem};

use super::signing_key::SigningKey;

/// The published keys. The first one signs.
#[derive(Default)]
pub(crate) struct KeyRing(RwLock<Arc<[SigningKey]>>);

/// No key has been loaded. The service loads its keys before it accepts the first request.
#[derive(Debug, thiserror::Error)]
#[error("no signing key has been loaded")]
pub(crate) struct NoKey;

impl KeyRing {
    /// Replaces the keys: from now on the first one signs, and all are published.
    pub(super) fn replace(&self, keys: Vec<SigningKey>) -> Result<(), NoKey> {
        if keys.is_empty() {
            return Err(NoKey);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(())
    }

    /// The public keys, as a JWK set.
    pub(super) fn jwk_set(&self) -> Result<JwkSet, NoKey> {
        let keys = self.keys();
        if keys.is_empty() {
            return Err(NoKey);
        }
        Ok(JwkSet {
            keys: keys.iter().map(|key| key.jwk().clone()).collect(),
        })
    }

    /// Signs a token with these claims.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, Problem> {
        let keys = self.keys();
        let key = keys.first().ok_or(NoKey).map_err(Problem::internal)?;
        key.sign(claims).map_err(Problem::internal)
    }

    fn keys(&self) -> Arc<[SigningKey]> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        let kids = keys.iter().map(SigningKey::kid);
        f.debug_list().entries(kids).finish()
    }
}
