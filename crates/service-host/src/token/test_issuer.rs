//! An issuer of tokens for tests of services.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Claims, ISSUER, MAX_LIFETIME};

/// Serves a key set on a free port of 127.0.0.1, and signs tokens with its newest key.
///
/// A service started with [`TestIssuer::jwks_url`] as its `IDENTITY_JWKS_URL` accepts the tokens.
pub struct TestIssuer {
    key: EncodingKey,
    kid: String,
    published: Published,
    url: String,
    server: JoinHandle<()>,
}

/// The public halves of the keys.
type Published = Arc<Mutex<Vec<Value>>>;

impl TestIssuer {
    /// Makes a key and serves it until dropped.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 is free.
    #[expect(clippy::expect_used, reason = "for tests alone")]
    pub async fn start() -> Self {
        let published = Published::default();
        let (kid, key) = publish_new_key(&published);
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let served = published.clone();
        let set = async move || Json(json!({ "keys": *lock(&served) }));
        let routes = Router::new().route("/jwks.json", get(set));
        let server = tokio::spawn(async move {
            // Ends with the task; until then accepting does not fail for good.
            let _ = axum::serve(listener, routes).await;
        });
        Self {
            key,
            kid,
            published,
            url: format!("http://{address}/jwks.json"),
            server,
        }
    }

    /// Signs with a new key from now on; the old ones stay published.
    pub fn change_key(&mut self) {
        (self.kid, self.key) = publish_new_key(&self.published);
    }

    /// Where the key set is.
    #[must_use]
    pub fn jwks_url(&self) -> &str {
        &self.url
    }

    /// A token of this user with these permissions.
    #[must_use]
    pub fn token(&self, user: Uuid, name: &str, permissions: &[&str]) -> String {
        self.sign(&Self::claims(user, name, permissions))
    }

    /// Claims that are accepted, to be changed into ones that are not.
    #[must_use]
    pub fn claims(user: Uuid, name: &str, permissions: &[&str]) -> Claims {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Claims {
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
            sub: user,
            name: name.to_owned(),
            preferred_username: name.to_lowercase(),
            roles: Vec::new(),
            permissions: permissions.iter().map(|&name| name.to_owned()).collect(),
            iat: now,
            exp: now + MAX_LIFETIME,
        }
    }

    /// A token that says this, whatever it is.
    ///
    /// # Panics
    ///
    /// Never: every claim has a JSON form.
    #[must_use]
    #[expect(clippy::expect_used, reason = "for tests alone")]
    pub fn sign(&self, claims: &Claims) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).expect("claims can be signed")
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Makes a key, adds it to the published ones and returns its id and its private half.
#[expect(clippy::expect_used, reason = "for tests alone")]
fn publish_new_key(published: &Published) -> (String, EncodingKey) {
    let pair = Ed25519KeyPair::generate().expect("a new key pair");
    let pkcs8 = pair.to_pkcs8().expect("a new key pair has a PKCS #8 form");
    let kid = Uuid::now_v7().to_string();
    lock(published).push(json!({
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid,
        "x": BASE64_URL_SAFE_NO_PAD.encode(pair.public_key()),
    }));
    (kid, EncodingKey::from_ed_der(pkcs8.as_ref()))
}

fn lock(published: &Published) -> MutexGuard<'_, Vec<Value>> {
    published.lock().unwrap_or_else(PoisonError::into_inner)
}
