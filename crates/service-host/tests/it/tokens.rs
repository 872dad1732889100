//! Who may do what, by the access token.

use reqwest::StatusCode;
use service_host::TestIssuer;
use test_servers::eventually;
use uuid::Uuid;

use crate::notes::MANAGE;
use crate::support::{SOON, TestService, problem};

#[tokio::test]
async fn guests_get_401_and_users_without_the_permission_403() {
    let service = TestService::start().await;
    let request = || {
        service
            .client
            .post(service.url("/notes"))
            .body("no JSON: it is not read")
    };
    let response = request().send().await.unwrap();
    assert_eq!(
        response.headers()["www-authenticate"],
        "Bearer realm=\"waybill\""
    );
    problem(response, StatusCode::UNAUTHORIZED, "not-signed-in").await;

    let token = service
        .issuer
        .token(Uuid::now_v7(), "Bob", &["other.permission"]);
    let response = request().bearer_auth(token).send().await.unwrap();
    let body = problem(response, StatusCode::FORBIDDEN, "forbidden").await;
    assert!(body["detail"].as_str().unwrap().contains(MANAGE), "{body}");
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_401_even_where_a_guest_would_do() {
    let service = TestService::start().await;
    let good = TestIssuer::claims(Uuid::now_v7(), "Bob", &[]);
    let mut expired = good.clone();
    (expired.iat, expired.exp) = (good.iat - 3600, good.iat - 1800);
    let mut for_others = good.clone();
    for_others.aud = "others".to_owned();
    let mut by_others = good.clone();
    by_others.iss = "others".to_owned();
    let stranger = TestIssuer::start().await;

    let signed = service.issuer.sign(&good);
    let (head, signature) = signed.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let (_, other_body) = service
        .issuer
        .sign(&expired)
        .split_once('.')
        .map(|(header, rest)| (header.to_owned(), rest.to_owned()))
        .unwrap();
    let (other_body, _) = other_body.split_once('.').unwrap();
    let tokens = [
        "nonsense".to_owned(),
        service.issuer.sign(&expired),
        service.issuer.sign(&for_others),
        service.issuer.sign(&by_others),
        stranger.sign(&good),
        format!("{header}.{other_body}.{signature}"),
        format!("{head}."),
    ];
    for token in tokens {
        let request = service
            .client
            .get(service.url("/whoami"))
            .bearer_auth(&token);
        let response = request.send().await.unwrap();
        problem(response, StatusCode::UNAUTHORIZED, "invalid-token").await;
    }
    let request = service
        .client
        .get(service.url("/whoami"))
        .basic_auth("bob", Some("secret"));
    problem(
        request.send().await.unwrap(),
        StatusCode::UNAUTHORIZED,
        "invalid-token",
    )
    .await;
}

#[tokio::test]
async fn an_accepted_token_names_its_user_and_none_is_a_guest() {
    let service = TestService::start().await;
    assert_eq!(
        service.get("/whoami").await.text().await.unwrap(),
        "a guest"
    );
    let token = service.issuer.token(Uuid::now_v7(), "Ada", &[]);
    let request = service
        .client
        .get(service.url("/whoami"))
        .bearer_auth(token);
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "Ada");
}

#[tokio::test]
async fn a_changed_key_is_fetched_when_a_token_names_it() {
    let mut service = TestService::start().await;
    let with_old_key = service.issuer.token(Uuid::now_v7(), "Ada", &[]);
    service.issuer.change_key();
    let with_new_key = service.issuer.token(Uuid::now_v7(), "Bob", &[]);
    let name = async |token: &str| {
        let request = service
            .client
            .get(service.url("/whoami"))
            .bearer_auth(token);
        let response = request.send().await.unwrap();
        let is_accepted = response.status() == StatusCode::OK;
        let text = response.text().await.unwrap();
        is_accepted.then_some(text)
    };
    // Not at once: whoever makes up names of keys must not cause a fetch each.
    let new = eventually("the new key is accepted", SOON, async || {
        name(&with_new_key).await
    })
    .await;
    assert_eq!(new, "Bob");
    assert_eq!(name(&with_old_key).await.as_deref(), Some("Ada"));
}
