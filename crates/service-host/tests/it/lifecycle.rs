//! From the start to the end of a service, with servers that come late or go away.

use crate::notes::{self, Notes};
use crate::support::{SOON, TestService, problem};
use reqwest::StatusCode;
use serde_json::Value;
use service_host::{HostConfig, NoSettings, RunningService, StartError};
use test_servers::{TestBroker, eventually};

async fn readiness(service: &TestService) -> (StatusCode, Value) {
    let response = service.get("/health/ready").await;
    (response.status(), response.json().await.unwrap())
}

async fn wait_for_status(service: &TestService, status: &str) {
    eventually(&format!("/health/ready says {status}"), SOON, async || {
        let (_, report) = readiness(service).await;
        (report["status"] == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_waits_for_its_schema_and_then_becomes_ready_by_itself() {
    let service = TestService::start_unmigrated().await;
    let (status, report) = readiness(&service).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(report["status"], "starting");
    let response = service.get("/notes").await;
    assert!(response.headers().contains_key("retry-after"));
    problem(response, StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;

    service.migrate().await;
    service.wait_until_ready().await;
    assert_eq!(service.get("/notes").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn while_the_database_is_away_requests_get_503_and_the_process_lives() {
    let service = TestService::start().await;
    let path = service.create_note("kept").await;
    service.database_proxy.cut().await;

    let response = service.get(&path).await;
    assert!(response.headers().contains_key("retry-after"));
    problem(response, StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
    wait_for_status(&service, "unavailable").await;
    assert_eq!(service.get("/health/live").await.status(), StatusCode::OK);

    service.database_proxy.restore().await;
    service.wait_until_ready().await;
    assert_eq!(service.get(&path).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_broker_that_is_away_degrades_and_does_not_stop() {
    let service = TestService::start().await;
    wait_for_status(&service, "ready").await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = nobody.local_addr().unwrap();

    let config = HostConfig::local(
        service.database.url("notes"),
        format!("amqp://guest:guest@{nobody}"),
        service.issuer.jwks_url(),
    );
    let lonely = service_host::start::<Notes>(config, NoSettings {})
        .await
        .unwrap();
    let report = report_of(&lonely, &service, "down", |report| {
        report["checks"]["broker"] == "down"
    })
    .await;
    assert_eq!(report["status"], "degraded");
    let reason = report["checks"]["bus"][0].as_str().unwrap();
    assert!(reason.contains(&nobody.to_string()), "{reason}");
    lonely.shutdown().await;
}

/// The report of readiness of another service, once it is as expected.
async fn report_of(
    running: &RunningService,
    service: &TestService,
    what: &str,
    is_expected: impl Fn(&Value) -> bool,
) -> Value {
    let url = format!("http://{}/health/ready", running.http_addr);
    eventually(&format!("/health/ready says {what}"), SOON, async || {
        let response = service.client.get(&url).send().await.unwrap();
        let is_ok = response.status() == StatusCode::OK;
        let report: Value = response.json().await.unwrap();
        (is_ok && is_expected(&report)).then_some(report)
    })
    .await
}

#[tokio::test]
async fn what_keeps_the_bus_from_working_degrades_in_words() {
    let service = TestService::start().await;
    let broker = TestBroker::create().await;
    let classic = r#"{"x-queue-type": "classic"}"#;
    broker.declare_queue("notes", classic).await;
    let config = HostConfig::local(
        service.database.url("notes"),
        broker.url(),
        service.issuer.jwks_url(),
    );
    let degraded = service_host::start::<Notes>(config, NoSettings {})
        .await
        .unwrap();
    let report = report_of(&degraded, &service, "why it is degraded", |report| {
        report["checks"]["bus"][0].is_string()
    })
    .await;
    assert_eq!(report["status"], "degraded");
    assert_eq!(report["checks"]["broker"], "up");
    let reason = report["checks"]["bus"][0].as_str().unwrap();
    assert!(reason.starts_with("group notes: queue `notes`"), "{reason}");
    broker.delete_queue("notes").await;
    let is_ready = |report: &Value| report["status"] == "ready";
    report_of(&degraded, &service, "ready", is_ready).await;
    degraded.shutdown().await;
}

#[tokio::test]
async fn a_broker_that_has_not_answered_yet_is_not_down() {
    let service = TestService::start().await;
    // Accepts connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = HostConfig::local(
        service.database.url("notes"),
        format!("amqp://guest:guest@{}", silent.local_addr().unwrap()),
        service.issuer.jwks_url(),
    );
    let waiting = service_host::start::<Notes>(config, NoSettings {})
        .await
        .unwrap();
    let is_ok = |_: &Value| true;
    let report = report_of(&waiting, &service, "anything", is_ok).await;
    assert_eq!(report["checks"]["broker"], "connecting");
    waiting.shutdown().await;
}

#[tokio::test]
async fn a_comma_in_the_brokers_password_is_refused_with_its_remedy() {
    let config = HostConfig::local(
        "postgres://a:b@127.0.0.1/c",
        "amqp://user:s3cr,et@127.0.0.1",
        "http://127.0.0.1/",
    );
    let error = service_host::start::<Notes>(config, NoSettings {})
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("AMQP_URL: "), "{error}");
    assert!(error.contains("%2C"), "{error}");
    assert!(!error.contains("s3cr"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_its_variable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = HostConfig::local(
        "postgres://a:b@127.0.0.1/c",
        "amqp://a:b@127.0.0.1",
        "http://127.0.0.1/",
    );
    config.http.addr = taken.local_addr().unwrap();
    let error = service_host::start::<Notes>(config, NoSettings {})
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(error.to_string().starts_with("HTTP_ADDR: "), "{error}");
}

#[tokio::test]
async fn a_stopped_service_has_finished_its_requests_and_left_its_ports() {
    let mut service = TestService::start().await;
    let url = service.url("/health/live");
    let running = service.running.take().unwrap();
    running.shutdown().await;
    let error = service.client.get(&url).send().await.unwrap_err();
    assert!(error.is_connect(), "{error}");
}

#[tokio::test]
async fn a_token_gets_503_until_a_key_set_was_fetched() {
    let service = TestService::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let jwks_url = format!("http://{}/jwks.json", nobody.local_addr().unwrap());
    drop(nobody);
    let config = HostConfig::local(
        service.database.url("notes"),
        service.broker.url(),
        jwks_url,
    );
    let keyless = service_host::start::<Notes>(config, NoSettings {})
        .await
        .unwrap();
    let get = |path| {
        service
            .client
            .get(format!("http://{}{path}", keyless.http_addr))
    };
    eventually("it is ready", SOON, async || {
        let response = get("/health/ready").send().await.unwrap();
        (response.status() == StatusCode::OK).then_some(())
    })
    .await;
    let response = get("/whoami")
        .bearer_auth(service.manager())
        .send()
        .await
        .unwrap();
    assert!(response.headers().contains_key("retry-after"));
    problem(response, StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
    assert_eq!(
        get("/whoami").send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn requests_are_measured_by_their_route() {
    let service = TestService::start().await;
    let path = service.create_note("measured").await;
    assert_eq!(service.get(&path).await.status(), StatusCode::OK);
    let url = format!("http://{}/metrics", service.running().metrics_addr);
    let metrics = service
        .client
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let series = metrics.lines().find(|line| {
        line.starts_with("http_server_request_duration_seconds_count")
            && line.contains("http_route=\"/notes/{id}\"")
            && line.contains("http_request_method=\"GET\"")
            && line.contains("http_response_status_code=\"200\"")
    });
    assert!(series.is_some(), "{metrics}");
    assert!(!metrics.contains(&path), "paths are no label");
}

#[tokio::test]
async fn the_document_describes_the_routes_and_that_all_may_refuse() {
    let service = TestService::start().await;
    let document: Value = service
        .get("/api-docs/openapi.json")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(document["info"]["title"], "Waybill notes");
    let create = &document["paths"]["/notes"]["post"];
    assert_eq!(
        create["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"],
        "#/components/schemas/Problem"
    );
    assert!(document["components"]["schemas"]["Problem"]["properties"]["traceId"].is_object());
    assert!(document["components"]["securitySchemes"]["bearer"].is_object());
    let page = service.get("/swagger-ui/").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("swagger-ui"));
}

#[tokio::test]
async fn a_program_works_with_a_schema_that_a_newer_one_has_migrated() {
    let service = TestService::start_unmigrated().await;
    service.migrate().await;
    service.apply_unknown_migrations(None).await;
    // What its next start does.
    service.migrate().await;
    service.wait_until_ready().await;
    service.create_note("works").await;
}

#[tokio::test]
async fn a_program_refuses_a_schema_that_requires_a_newer_one_and_says_so() {
    for table in ["_event_bus_migrations", "_sqlx_migrations"] {
        let service = TestService::start_unmigrated().await;
        service.migrate().await;
        service.apply_unknown_migrations(Some(table)).await;
        let pool = service.database.pool("notes").await;
        let of_bus = event_bus::migrate(&pool).await;
        let of_service = event_bus::run_migrations(&pool, &notes::MIGRATOR).await;
        let refused = of_bus.and(of_service).expect_err("it is refused");
        let text = refused.to_string();
        for part in [
            format!("version 9999 of `{table}`"),
            "requires a program that knows version 9998".to_owned(),
            "start a newer program".to_owned(),
        ] {
            assert!(text.contains(&part), "{text}");
        }
        // Another instance of the same program does not become ready over it, either.
        let other = service.start_another().await;
        let url = format!("http://{}/health/ready", other.http_addr);
        eventually("it reports the schema", SOON, async || {
            let report = service.client.get(&url).send().await.ok()?;
            assert_eq!(report.status(), StatusCode::SERVICE_UNAVAILABLE);
            let report: Value = report.json().await.ok()?;
            (report["checks"]["service"] == "incompatible_schema").then_some(())
        })
        .await;
        other.shutdown().await;
    }
}

#[tokio::test]
async fn an_applied_migration_that_was_edited_is_an_error() {
    let service = TestService::start().await;
    let pool = service.database.pool("notes").await;
    for table in ["_event_bus_migrations", "_sqlx_migrations"] {
        let edit = format!("update {table} set checksum = '' where version = 1");
        sqlx::raw_sql(sqlx::AssertSqlSafe(edit))
            .execute(&pool)
            .await
            .unwrap();
    }
    let of_bus = event_bus::migrate(&pool).await;
    let of_service = event_bus::run_migrations(&pool, &notes::MIGRATOR).await;
    for result in [of_bus, of_service] {
        let error = result.expect_err("it is refused").to_string();
        assert!(error.contains("has been modified"), "{error}");
    }
    // The lock that migrations take went with the failure: the bus's relay has the only one.
    eventually("no lock is left", SOON, async || {
        (service.database.advisory_locks("notes").await <= 1).then_some(())
    })
    .await;
}
