//! Checks tokens against the issuer's published keys (a JWK set, RFC 7517).
//!
//! The set is fetched in the background: at start until it is there, then every few minutes, and
//! when a token names a key that is not in it, since then the issuer has probably changed keys.
//! The latter at most once in a while: anybody can make up a key's name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::{Claims, ISSUER};

/// Between two fetches when nothing is unusual.
const REFRESH: Duration = Duration::from_secs(300);
/// Between two fetches at least, whatever is asked for.
const COOL_DOWN: Duration = Duration::from_secs(5);
/// Until the first set is there, and after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How long a request waits for a fetch that it caused.
const PATIENCE: Duration = Duration::from_secs(2);
/// Clocks of two machines differ by no more than this many seconds.
const LEEWAY: u64 = 30;

type Keys = HashMap<String, DecodingKey>;

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The time of the token is over.
    #[error("The token has expired.")]
    Expired,
    /// It is no token, it was changed, or somebody else issued it.
    #[error("The token is not valid.")]
    Invalid,
    /// No key set could be fetched so far, so nothing can be said about the token.
    #[error("the key set was not fetched yet")]
    NoKeys,
}

/// Verifies access tokens. Clones share one key set.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Inner>);

struct Inner {
    keys: RwLock<Option<Arc<Keys>>>,
    /// What the fetching task is doing; none if there is no such task.
    fetching: Option<watch::Sender<Fetching>>,
    /// Wakes the fetching task.
    wanted: Notify,
}

#[derive(Debug, Clone, Copy)]
enum Fetching {
    /// A fetch is under way.
    Now,
    /// The last one ended then, well or not.
    Ended(Instant),
}

impl TokenVerifier {
    /// One that fetches the set, once [`keep_fetching`](Self::keep_fetching) runs.
    pub(crate) fn fetching() -> Self {
        Self::new(Some(watch::Sender::new(Fetching::Now)))
    }

    /// One that knows what it is told, see [`trust`](Self::trust).
    pub(crate) fn told() -> Self {
        Self::new(None)
    }

    fn new(fetching: Option<watch::Sender<Fetching>>) -> Self {
        Self(Arc::new(Inner {
            keys: RwLock::new(None),
            fetching,
            wanted: Notify::new(),
        }))
    }

    /// Trusts these keys from now on, and no others. The issuer itself calls it, which need not
    /// fetch its own set.
    ///
    /// Keys without an id or of an unsupported kind are left out.
    pub fn trust(&self, set: &JwkSet) {
        let keys = set
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?)))
            .collect();
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
    }

    /// The claims of a token that is signed by a trusted key, is for us and has not expired.
    ///
    /// # Errors
    ///
    /// Why it is not accepted.
    pub async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let kid = header.kid.ok_or(TokenError::Invalid)?;
        let keys = match self.keys() {
            Some(keys) if keys.contains_key(&kid) => keys,
            _ => {
                self.fetch_soon().await;
                self.keys().ok_or(TokenError::NoKeys)?
            }
        };
        let key = keys.get(&kid).ok_or(TokenError::Invalid)?;

        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY;
        jsonwebtoken::decode::<Claims>(token, key, &validation)
            .map(|token| token.claims)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid,
            })
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    /// Waits for the fetch that is under way, or has one begun unless that was just done.
    async fn fetch_soon(&self) {
        let Some(fetching) = &self.0.fetching else {
            return;
        };
        let mut progress = fetching.subscribe();
        if let Fetching::Ended(at) = *progress.borrow_and_update() {
            let is_recent = at.elapsed() < COOL_DOWN;
            if is_recent && self.keys().is_some() {
                return;
            }
            // As long as there is no set, the next fetch comes soon by itself.
            if !is_recent {
                self.0.wanted.notify_one();
            }
        }
        let ended = async {
            while progress.changed().await.is_ok() {
                if let Fetching::Ended(_) = *progress.borrow_and_update() {
                    return;
                }
            }
        };
        // Whether it came in time shows in the keys.
        let _ = timeout(PATIENCE, ended).await;
    }

    /// Fetches the set from `url`, again and again.
    pub(crate) async fn keep_fetching(self, url: String) {
        let Some(fetching) = &self.0.fetching else {
            return;
        };
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .unwrap_or_default();
        let mut is_failing = false;
        loop {
            fetching.send_replace(Fetching::Now);
            let wait = match fetch(&client, &url).await {
                Ok(set) => {
                    self.trust(&set);
                    is_failing = false;
                    REFRESH
                }
                Err(error) => {
                    // Said once, not every second, as long as it lasts.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the key set can't be fetched; trying again"
                        );
                    }
                    RETRY
                }
            };
            fetching.send_replace(Fetching::Ended(Instant::now()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.0.wanted.notified() => {}
            }
        }
    }
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<JwkSet, reqwest::Error> {
    let response = client.get(url).send().await?.error_for_status()?;
    response.json().await
}
