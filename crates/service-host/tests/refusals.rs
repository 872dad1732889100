//! What bad input gets, and what a client is told when the server is to blame.

mod support;

use reqwest::StatusCode;
use reqwest::header::{HeaderName, IF_MATCH};
use serde_json::json;
use service_host::TestIssuer;
use support::{MANAGE, TestService, problem};
use uuid::Uuid;

const JSON: &str = "application/json";

#[tokio::test]
async fn unreadable_json_is_400() {
    let service = TestService::start().await;
    for body in ["", "{\"title\":", "{} {}", "\u{feff}nonsense"] {
        let response = service.post(JSON, body).await;
        problem(response, StatusCode::BAD_REQUEST, "unreadable-json").await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_415() {
    let service = TestService::start().await;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "nonsense",
    ] {
        let response = service.post(content_type, "{}").await;
        problem(
            response,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
        )
        .await;
    }
}

#[tokio::test]
async fn a_body_over_64_kib_is_413_announced_or_not() {
    let service = TestService::start().await;
    let large = json!({ "title": "x".repeat(64 * 1024) }).to_string();
    let response = service.post(JSON, large.clone()).await;
    problem(response, StatusCode::PAYLOAD_TOO_LARGE, "body-too-large").await;

    let piece = move |_| Ok::<_, std::io::Error>(large.clone());
    let stream = futures::StreamExt::map(futures::stream::iter(0..2), piece);
    let response = service.post(JSON, reqwest::Body::wrap_stream(stream)).await;
    problem(response, StatusCode::PAYLOAD_TOO_LARGE, "body-too-large").await;
}

#[tokio::test]
async fn wrong_missing_and_unknown_fields_are_422_with_a_pointer() {
    let service = TestService::start().await;
    let cases = [
        (
            json!({"title": 7}),
            "/title",
            "invalid type: integer `7`, expected a string",
        ),
        (json!({}), "/title", "missing field `title`"),
        (
            json!({"title": "a", "colour": "red"}),
            "/colour",
            "unknown field `colour`",
        ),
        (
            json!({"title": "a", "stars": 6}),
            "/stars",
            "must be at most 5",
        ),
    ];
    for (body, pointer, detail) in cases {
        let response = service.post(JSON, body.to_string()).await;
        let body = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "validation").await;
        assert_eq!(body["errors"][0]["pointer"], pointer);
        assert!(
            body["errors"][0]["detail"]
                .as_str()
                .unwrap()
                .starts_with(detail),
            "{body}"
        );
    }
}

#[tokio::test]
async fn everything_wrong_with_a_body_is_told_at_once() {
    let service = TestService::start().await;
    let body = json!({"title": "", "stars": 9}).to_string();
    let response = service.post(JSON, body).await;
    let body = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "validation").await;
    assert_eq!(body["errors"].as_array().unwrap().len(), 2, "{body}");
}

#[tokio::test]
async fn a_wrong_query_parameter_is_422_by_name() {
    let service = TestService::start().await;
    for (query, name) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("cursor=!!", "cursor"),
        ("colour=red", "colour"),
    ] {
        let response = service.get(&format!("/notes?{query}")).await;
        let body = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "validation").await;
        assert_eq!(body["errors"][0]["parameter"], name, "{body}");
    }
}

#[tokio::test]
async fn unknown_routes_ids_and_methods_are_problems_too() {
    let service = TestService::start().await;
    for path in [
        "/nowhere",
        "/notes/not-a-uuid",
        "/notes/00000000-0000-7000-8000-000000000000",
    ] {
        problem(service.get(path).await, StatusCode::NOT_FOUND, "not-found").await;
    }
    let response = service
        .client
        .delete(service.url("/notes"))
        .send()
        .await
        .unwrap();
    assert!(response.headers().contains_key("allow"));
    problem(
        response,
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
    )
    .await;
}

#[tokio::test]
async fn guests_get_401_and_users_without_the_permission_403() {
    let service = TestService::start().await;
    let request = || {
        service
            .client
            .post(service.url("/notes"))
            .json(&json!({"title": "a"}))
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
async fn a_lost_update_is_refused() {
    let service = TestService::start().await;
    let path = service.create_note("first").await;
    let rename = |if_match: Option<&'static str>| {
        let request = service
            .client
            .put(service.url(&path))
            .bearer_auth(service.manager());
        let request = request.json(&json!({"title": "second"}));
        match if_match {
            Some(tag) => request.header(IF_MATCH, tag),
            None => request,
        }
        .send()
    };
    let response = rename(None).await.unwrap();
    problem(
        response,
        StatusCode::PRECONDITION_REQUIRED,
        "if-match-required",
    )
    .await;
    for stale in ["\"7\"", "W/\"1\"", "nonsense"] {
        let response = rename(Some(stale)).await.unwrap();
        problem(response, StatusCode::PRECONDITION_FAILED, "stale").await;
    }
    assert_eq!(
        rename(Some("\"1\"")).await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(service.get(&path).await.headers()["etag"], "\"2\"");
}

#[tokio::test]
async fn a_violated_constraint_is_told_in_the_words_of_the_domain() {
    let service = TestService::start().await;
    service.create_note("only one").await;
    let response = service
        .post(JSON, json!({"title": "only one"}).to_string())
        .await;
    let body = problem(response, StatusCode::CONFLICT, "title-taken").await;
    assert!(!body.to_string().contains("notes_title_key"), "{body}");
}

#[tokio::test]
async fn a_panic_is_500_without_its_reason() {
    let service = TestService::start().await;
    let body = problem(
        service.get("/panics").await,
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
    )
    .await;
    assert!(!body.to_string().contains("secret"), "{body}");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_503() {
    let service = TestService::start().await;
    let response = service.get("/hangs").await;
    assert!(response.headers().contains_key("retry-after"));
    problem(response, StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
}

#[tokio::test]
async fn an_inside_failure_is_500_without_sql() {
    let service = TestService::start().await;
    let pool = service.database.pool("notes").await;
    sqlx::query("drop table notes")
        .execute(&pool)
        .await
        .unwrap();
    let response = service.get("/notes").await;
    let body = problem(response, StatusCode::INTERNAL_SERVER_ERROR, "internal").await;
    let text = body.to_string();
    assert!(
        !text.contains("select") && !text.contains("relation"),
        "{text}"
    );
}

#[tokio::test]
async fn the_trace_of_the_caller_goes_on() {
    let service = TestService::start().await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let response = service
        .client
        .get(service.url("/nowhere"))
        .header(
            HeaderName::from_static("traceparent"),
            format!("00-{trace_id}-00f067aa0ba902b7-01"),
        )
        .send()
        .await
        .unwrap();
    let body = problem(response, StatusCode::NOT_FOUND, "not-found").await;
    assert_eq!(body["traceId"], trace_id);
}
