//! The keys at hand.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::jwk::JwkSet;
use service_host::{Claims, Problem};

use super::signing_key::SigningKey;

/// The published keys, of which the first signs.
#[derive(Default)]
pub(crate) struct KeyRing(RwLock<Arc<[SigningKey]>>);

/// No key was loaded, which happens before the first request is let in.
#[derive(Debug, thiserror::Error)]
#[error("no signing key was loaded")]
pub(crate) struct NoKey;

impl KeyRing {
    /// Signs with the first of these from now on, and publishes all.
    pub(super) fn replace(&self, keys: Vec<SigningKey>) -> Result<(), NoKey> {
        if keys.is_empty() {
            return Err(NoKey);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(())
    }

    /// The public halves.
    pub(super) fn jwk_set(&self) -> Result<JwkSet, NoKey> {
        let keys = self.keys();
        if keys.is_empty() {
            return Err(NoKey);
        }
        Ok(JwkSet {
            keys: keys.iter().map(|key| key.jwk().clone()).collect(),
        })
    }

    /// A token that says this, signed.
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
