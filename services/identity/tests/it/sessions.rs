//! Sign-in, refresh and sign-out.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    DEMO_PASSWORD, PASSWORD, TestIdentity, details, fresh_name, problem, with_password,
};

async fn rejected(response: Response) -> Value {
    let body = problem(response, StatusCode::BAD_REQUEST, "invalid-grant").await;
    assert_eq!(body["error"], "invalid_grant");
    body
}

async fn tokens(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

async fn logout(service: &TestIdentity, tokens: &Value) -> StatusCode {
    let body = json!({"refresh_token": tokens["refresh_token"]});
    service.post("/api/identity/logout", &body).await.status()
}

#[tokio::test]
async fn a_password_grant_returns_tokens_under_their_oauth_names() {
    let service = TestIdentity::start().await;
    let response = service.try_sign_in("alice", DEMO_PASSWORD).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    let tokens = tokens(response).await;
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 900);

    let token = tokens["access_token"].as_str().unwrap();
    let me = service
        .request(Method::GET, "/api/identity/me")
        .bearer_auth(token);
    let me: Value = me.send().await.unwrap().json().await.unwrap();
    assert_eq!(me["userName"], "alice");
    assert_eq!(me["permissions"], json!([]));
}

#[tokio::test]
async fn a_form_is_accepted_and_the_user_name_ignores_case() {
    let service = TestIdentity::start().await;
    let form = [
        ("grant_type", "password"),
        ("username", "OLIVIA"),
        ("password", DEMO_PASSWORD),
        ("scope", "anything"),
    ];
    let request = service
        .request(Method::POST, "/api/identity/token")
        .form(&form);
    let tokens = tokens(request.send().await.unwrap()).await;
    let me = service
        .request(Method::GET, "/api/identity/me")
        .bearer_auth(tokens["access_token"].as_str().unwrap());
    let me: Value = me.send().await.unwrap().json().await.unwrap();
    let expected = [
        "catalog.products.manage",
        "ordering.orders.manage",
        "ordering.orders.read",
    ];
    assert_eq!(me["permissions"], json!(expected));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_response() {
    let service = TestIdentity::start().await;
    let mut wrong = rejected(service.try_sign_in("alice", "not her password").await).await;
    let mut unknown = rejected(service.try_sign_in("unknown-user", "any password").await).await;
    for body in [&mut wrong, &mut unknown] {
        body.as_object_mut().unwrap().remove("traceId");
    }
    assert_eq!(wrong, unknown);
}

#[tokio::test]
async fn a_missing_field_or_an_unknown_grant_type_is_rejected() {
    let service = TestIdentity::start().await;
    let post = async |body: Value| service.post("/api/identity/token", &body).await;
    let response = post(json!({"grant_type": "password", "username": "alice"})).await;
    let body = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "validation").await;
    assert_eq!(body["errors"][0]["pointer"], "/password");
    let response = post(json!({"grant_type": "implicit"})).await;
    let body = problem(response, StatusCode::BAD_REQUEST, "unsupported-grant-type").await;
    assert_eq!(body["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn five_wrong_passwords_block_the_name_even_for_the_right_password() {
    let service = TestIdentity::start().await;
    for name in ["alice", "no-such-user"] {
        for _ in 0..5 {
            rejected(service.try_sign_in(name, "a guess").await).await;
        }
        let response = service.try_sign_in(name, DEMO_PASSWORD).await;
        let wait = response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .to_owned();
        let wait: u64 = wait.parse().expect("whole seconds");
        assert!((1..=30).contains(&wait), "{wait}");
        problem(response, StatusCode::TOO_MANY_REQUESTS, "too-many-requests").await;
    }
    service.sign_in("bob").await;
}

#[tokio::test]
async fn a_right_password_resets_the_count_of_failures() {
    let service = TestIdentity::start().await;
    for _ in 0..2 {
        for _ in 0..4 {
            rejected(service.try_sign_in("alice", "a guess").await).await;
        }
        service.sign_in("alice").await;
    }
}

#[tokio::test]
async fn a_refresh_token_is_valid_once_and_its_reuse_ends_the_session() {
    let service = TestIdentity::start().await;
    let first = service.sign_in("alice").await;
    let second = tokens(service.refresh(&first).await).await;
    let third = tokens(service.refresh(&second).await).await;
    assert_ne!(second["refresh_token"], third["refresh_token"]);

    rejected(service.refresh(&first).await).await;
    rejected(service.refresh(&third).await).await;
    rejected(service.refresh(&json!({"refresh_token": "made up"})).await).await;
}

#[tokio::test]
async fn at_most_one_of_two_concurrent_exchanges_succeeds() {
    let service = TestIdentity::start().await;
    let first = service.sign_in("alice").await;
    let (one, other) = tokio::join!(service.refresh(&first), service.refresh(&first));
    let successes = [&one, &other]
        .iter()
        .filter(|response| response.status() == StatusCode::OK)
        .count();
    assert!(successes <= 1, "{one:?} {other:?}");
}

#[tokio::test]
async fn refresh_tokens_are_not_stored_in_plain_text() {
    let service = TestIdentity::start().await;
    let tokens = service.sign_in("alice").await;
    let token = tokens["refresh_token"].as_str().unwrap();
    let pool = service.database.pool("identity").await;
    let sql = "select count(*) from refresh_tokens where hash = $1 or encode(hash, 'escape') = $2";
    let count: i64 = sqlx::query_scalar(sql)
        .bind(token.as_bytes())
        .bind(token)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(count, 0);
}

#[tokio::test]
async fn signing_out_ends_only_that_session() {
    let service = TestIdentity::start().await;
    let here = service.sign_in("alice").await;
    let there = service.sign_in("alice").await;
    assert_eq!(logout(&service, &here).await, StatusCode::NO_CONTENT);
    assert_eq!(
        logout(&service, &here).await,
        StatusCode::NO_CONTENT,
        "signing out twice is not an error"
    );
    rejected(service.refresh(&here).await).await;
    tokens(service.refresh(&there).await).await;
}

#[tokio::test]
async fn a_deactivated_user_is_signed_out_and_can_not_sign_in() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let user = service.create_user(&admin, &fresh_name()).await;
    let name = user["userName"].as_str().unwrap();
    let session = tokens(service.try_sign_in(name, PASSWORD).await).await;

    let mut inactive = details(name);
    inactive["isActive"] = json!(false);
    let response = service.replace(&admin, &user, &inactive).await;
    assert_eq!(response.status(), StatusCode::OK);
    rejected(service.refresh(&session).await).await;
    rejected(service.try_sign_in(name, PASSWORD).await).await;
}

#[tokio::test]
async fn a_new_password_ends_existing_sessions() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let user = service.create_user(&admin, &fresh_name()).await;
    let name = user["userName"].as_str().unwrap();
    let session = tokens(service.try_sign_in(name, PASSWORD).await).await;

    let mut changed = with_password(details(name));
    changed["password"] = json!("battery staple");
    let response = service.replace(&admin, &user, &changed).await;
    assert_eq!(response.status(), StatusCode::OK);
    rejected(service.refresh(&session).await).await;
    rejected(service.try_sign_in(name, PASSWORD).await).await;
    tokens(service.try_sign_in(name, "battery staple").await).await;
}

#[tokio::test]
async fn changed_roles_are_in_the_next_access_token() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let user = service.create_user(&admin, &fresh_name()).await;
    let name = user["userName"].as_str().unwrap();
    let session = tokens(service.try_sign_in(name, PASSWORD).await).await;
    let mut promoted = details(name);
    promoted["roles"] = json!(["customer", "admin"]);
    assert_eq!(
        service.replace(&admin, &user, &promoted).await.status(),
        StatusCode::OK
    );

    let session = tokens(service.refresh(&session).await).await;
    let token = session["access_token"].as_str().unwrap();
    let list = service
        .request(Method::GET, "/api/identity/user")
        .bearer_auth(token);
    assert_eq!(list.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_user_name_with_a_null_character_is_rejected() {
    let service = TestIdentity::start().await;
    rejected(service.try_sign_in("alice\0", DEMO_PASSWORD).await).await;
}
