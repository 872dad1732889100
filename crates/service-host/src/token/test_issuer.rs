//! An issuer of tokens for tests of services.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Claims, ISSUER, MAX_LIFETIME};

/// Serves a key set on a free port of 127.0.0.1, and signs tokens with its key.
///
/// A service started with [`TestIssuer::jwks_url`] as its `IDENTITY_JWKS_URL` accepts the tokens.
pub struct TestIssuer {
    key: EncodingKey,
    url: String,
    server: JoinHandle<()>,
}

impl TestIssuer {
    /// Makes a key and serves it until dropped.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 is free.
    #[expect(clippy::expect_used, reason = "for tests alone")]
    pub async fn start() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a new key pair");
        let pkcs8 = pair.to_pkcs8().expect("a new key pair has a PKCS #8 form");
        let set = json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "test",
            "x": BASE64_URL_SAFE_NO_PAD.encode(pair.public_key()),
        }]});
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let routes = Router::new().route("/jwks.json", get(async move || Json(set.clone())));
        let server = tokio::spawn(async move {
            // Ends with the task; until then accepting does not fail for good.
            let _ = axum::serve(listener, routes).await;
        });
        Self {
            key: EncodingKey::from_ed_der(pkcs8.as_ref()),
            url: format!("http://{address}/jwks.json"),
            server,
        }
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
        header.kid = Some("test".to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).expect("claims can be signed")
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}
