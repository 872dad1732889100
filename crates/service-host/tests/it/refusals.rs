//! What bad input gets, and what a client is told when the server is to blame.

use crate::support::{TestService, problem};
use reqwest::StatusCode;
use reqwest::header::{HeaderName, IF_MATCH};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const JSON: &str = "application/json";

#[tokio::test]
async fn unreadable_json_is_400() {
    let service = TestService::start().await;
    for body in [
        "",
        "{\"title\":",
        "{\"title\":\"a\"} {}",
        "\u{feff}nonsense",
    ] {
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

    let answer = post_in_chunks(&service, &large).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

/// Posts a body whose length is not announced, and returns the head of the answer.
async fn post_in_chunks(service: &TestService, body: &str) -> String {
    let mut stream = TcpStream::connect(service.running().http_addr)
        .await
        .unwrap();
    let head = format!(
        "POST /notes HTTP/1.1\r\nhost: notes\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        service.manager()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    // The service may answer and hang up before it has read everything.
    let _ = stream.write_all(chunk.as_bytes()).await;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
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
