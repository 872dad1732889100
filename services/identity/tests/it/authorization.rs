//! Authorization of every endpoint. An endpoint without a case here fails a test.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{TestIdentity, problem};

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Anyone,
    SignedIn,
    Administrators,
}

const UNKNOWN_USER: &str = "00000000-0000-7000-8000-000000000000";

/// Each endpoint, who may call it, and the response status if the caller may. The requests have
/// empty bodies or address a user that does not exist.
const ENDPOINTS: [(&str, &str, For, StatusCode); 10] = [
    ("get", "/.well-known/jwks.json", For::Anyone, StatusCode::OK),
    (
        "post",
        "/api/identity/register",
        For::Anyone,
        StatusCode::UNPROCESSABLE_ENTITY,
    ),
    (
        "post",
        "/api/identity/token",
        For::Anyone,
        StatusCode::UNPROCESSABLE_ENTITY,
    ),
    (
        "post",
        "/api/identity/logout",
        For::Anyone,
        StatusCode::UNPROCESSABLE_ENTITY,
    ),
    ("get", "/api/identity/me", For::SignedIn, StatusCode::OK),
    (
        "get",
        "/api/identity/user",
        For::Administrators,
        StatusCode::OK,
    ),
    (
        "post",
        "/api/identity/user",
        For::Administrators,
        StatusCode::UNPROCESSABLE_ENTITY,
    ),
    (
        "get",
        "/api/identity/user/{id}",
        For::Administrators,
        StatusCode::NOT_FOUND,
    ),
    (
        "put",
        "/api/identity/user/{id}",
        For::Administrators,
        StatusCode::PRECONDITION_REQUIRED,
    ),
    (
        "delete",
        "/api/identity/user/{id}",
        For::Administrators,
        StatusCode::NOT_FOUND,
    ),
];

async fn status(
    service: &TestIdentity,
    method: &str,
    path: &str,
    token: Option<&str>,
) -> StatusCode {
    let method: Method = method.to_uppercase().parse().unwrap();
    let mut request = service.request(method.clone(), &path.replace("{id}", UNKNOWN_USER));
    if method != Method::GET && method != Method::DELETE {
        request = request.json(&json!({}));
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn the_cases_cover_exactly_the_documented_endpoints() {
    let service = TestIdentity::start().await;
    let document: Value = service
        .get("/api-docs/openapi.json")
        .await
        .json()
        .await
        .unwrap();
    let paths: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_value(document["paths"].clone()).unwrap();
    let mut documented: Vec<(&str, &str, bool)> = paths
        .iter()
        .flat_map(|(path, operations)| {
            operations.iter().map(move |(method, operation)| {
                (
                    method.as_str(),
                    path.as_str(),
                    operation.get("security").is_some(),
                )
            })
        })
        .collect();
    let mut covered = ENDPOINTS.map(|(method, path, who, _)| (method, path, who != For::Anyone));
    documented.sort_unstable();
    covered.sort_unstable();
    assert_eq!(documented, covered);
}

#[tokio::test]
async fn guests_get_401_other_users_403_and_permitted_users_pass() {
    let service = TestIdentity::start().await;
    let customer = service.access_token("alice").await;
    let operator = service.access_token("olivia").await;
    let admin = service.access_token("admin").await;
    for (method, path, who, allowed) in ENDPOINTS {
        let of = async |token: Option<&str>| status(&service, method, path, token).await;
        let (guest, user) = match who {
            For::Anyone => (allowed, allowed),
            For::SignedIn => (StatusCode::UNAUTHORIZED, allowed),
            For::Administrators => (StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN),
        };
        assert_eq!(of(None).await, guest, "a guest: {method} {path}");
        assert_eq!(
            of(Some(&customer)).await,
            user,
            "a customer: {method} {path}"
        );
        assert_eq!(
            of(Some(&operator)).await,
            user,
            "an operator: {method} {path}"
        );
        assert_eq!(
            of(Some(&admin)).await,
            allowed,
            "an administrator: {method} {path}"
        );
    }
}

#[tokio::test]
async fn a_forged_token_is_rejected() {
    let service = TestIdentity::start().await;
    let stranger = service_host::TestIssuer::start().await;
    let token = stranger.token(uuid::Uuid::now_v7(), "admin", &["identity.users.manage"]);
    let request = service
        .request(Method::GET, "/api/identity/user")
        .bearer_auth(token);
    let response = request.send().await.unwrap();
    problem(response, StatusCode::UNAUTHORIZED, "invalid-token").await;
}
