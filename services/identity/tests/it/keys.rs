//! The keys that sign access tokens.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{TestIdentity, start_on};

async fn kids(service: &TestIdentity) -> Vec<String> {
    let set: Value = service
        .get("/.well-known/jwks.json")
        .await
        .json()
        .await
        .unwrap();
    let kid = |key: &Value| key["kid"].as_str().unwrap().to_owned();
    set["keys"].as_array().unwrap().iter().map(kid).collect()
}

#[tokio::test]
async fn the_published_set_contains_only_public_ed25519_keys() {
    let service = TestIdentity::start().await;
    let set: Value = service
        .get("/.well-known/jwks.json")
        .await
        .json()
        .await
        .unwrap();
    let key = &set["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"]),
        (&"OKP".into(), &"Ed25519".into())
    );
    assert_eq!((&key["use"], &key["alg"]), (&"sig".into(), &"EdDSA".into()));
    assert!(
        key.get("d").is_none(),
        "the private key must not be published"
    );
}

#[tokio::test]
async fn instances_share_the_stored_key() {
    let service = TestIdentity::start().await;
    let before = kids(&service).await;
    assert_eq!(before.len(), 1);
    let token = service.access_token("alice").await;

    let other = start_on(&service.database, &service.broker).await;
    let me = format!("http://{}/api/identity/me", other.http_addr);
    let response = service
        .client
        .get(me)
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_retired_key_stays_trusted_while_the_next_one_signs() {
    let mut service = TestIdentity::start().await;
    let before = kids(&service).await;
    let token = service.access_token("alice").await;
    let pool = service.database.pool("identity").await;
    sqlx::query("update signing_keys set retired_at = now()")
        .execute(&pool)
        .await
        .unwrap();

    service.running = start_on(&service.database, &service.broker).await;
    let after = kids(&service).await;
    assert_eq!(after.len(), 2);
    assert_eq!(after[1], before[0], "the retired key is still published");
    for token in [token, service.access_token("alice").await] {
        let request = service
            .request(Method::GET, "/api/identity/me")
            .bearer_auth(token);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    }
}
