//! A small service, and what tests need to talk to it.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use service_host::{HostConfig, NoSettings, RunningService, TestIssuer};
use test_servers::{FaultProxy, TestBroker, TestDatabase, eventually};
use uuid::Uuid;

use crate::notes::{self, MANAGE, Notes};

/// Longer than anything here should take, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The service in this process, on servers of its own. The database can be cut off.
pub(crate) struct TestService {
    pub(crate) running: Option<RunningService>,
    pub(crate) issuer: TestIssuer,
    pub(crate) client: Client,
    pub(crate) database: TestDatabase,
    pub(crate) database_proxy: FaultProxy,
    pub(crate) broker: TestBroker,
}

impl TestService {
    /// Ready to answer.
    pub(crate) async fn start() -> Self {
        let service = Self::start_unmigrated().await;
        service.migrate().await;
        service.wait_until_ready().await;
        service
    }

    /// Started over an empty database.
    pub(crate) async fn start_unmigrated() -> Self {
        let database = TestDatabase::create(&["notes"]).await;
        let database_proxy = FaultProxy::before(&database.url("notes")).await;
        let broker = TestBroker::create().await;
        let issuer = TestIssuer::start().await;
        let config = HostConfig::local(database_proxy.url(), broker.url(), issuer.jwks_url());
        let running = service_host::start::<Notes>(config, NoSettings {})
            .await
            .expect("the service starts");
        Self {
            running: Some(running),
            issuer,
            client: Client::new(),
            database,
            database_proxy,
            broker,
        }
    }

    /// Another instance of the service on the same servers.
    pub(crate) async fn start_another(&self) -> RunningService {
        let config = HostConfig::local(
            self.database.url("notes"),
            self.broker.url(),
            self.issuer.jwks_url(),
        );
        service_host::start::<Notes>(config, NoSettings {})
            .await
            .expect("it starts")
    }

    /// What `notes migrate` does.
    pub(crate) async fn migrate(&self) {
        let pool = self.database.pool("notes").await;
        event_bus::migrate(&pool).await.expect("the bus's tables");
        let notes = event_bus::run_migrations(&pool, &notes::MIGRATOR).await;
        notes.expect("the notes' table");
    }

    /// What a newer program's `migrate` leaves: migrations that this one does not know, the last of
    /// them 9999. Those of one table may require a program that knows 9998.
    pub(crate) async fn apply_unknown_migrations(&self, incompatible: Option<&str>) {
        let pool = self.database.pool("notes").await;
        for table in ["_event_bus_migrations", "_sqlx_migrations"] {
            let insert = format!(
                "insert into {table} (version, description, success, checksum, execution_time)
                 values (9998, 'newer', true, '', 0), (9999, 'newest', true, '', 0)"
            );
            let insert = sqlx::AssertSqlSafe(insert);
            sqlx::query(insert).execute(&pool).await.expect("inserted");
        }
        if let Some(table) = incompatible {
            sqlx::query("insert into schema_requirements values ($1, 9998)")
                .bind(table)
                .execute(&pool)
                .await
                .expect("inserted");
        }
    }

    pub(crate) async fn wait_until_ready(&self) {
        eventually("the service is ready", SOON, async || {
            let response = self.get("/health/ready").await;
            (response.status() == StatusCode::OK).then_some(())
        })
        .await;
    }

    pub(crate) fn running(&self) -> &RunningService {
        self.running.as_ref().expect("not shut down yet")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running().http_addr)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let request = self.client.get(self.url(path));
        request.send().await.expect("an answer")
    }

    /// A token of somebody who may write notes.
    pub(crate) fn manager(&self) -> String {
        self.issuer.token(Uuid::now_v7(), "Maya", &[MANAGE])
    }

    /// Posts a note as a manager.
    pub(crate) async fn post(
        &self,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Response {
        self.client
            .post(self.url("/notes"))
            .bearer_auth(self.manager())
            .header("content-type", content_type)
            .body(body)
            .send()
            .await
            .expect("an answer")
    }

    /// Creates a note and returns its path.
    pub(crate) async fn create_note(&self, title: &str) -> String {
        let body = serde_json::json!({ "title": title }).to_string();
        let response = self.post("application/json", body).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        response.headers()["location"].to_str().unwrap().to_owned()
    }
}

/// Checks what is alike in all problem details, and returns them.
pub(crate) async fn problem(response: Response, status: StatusCode, slug: &str) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let path = response.url().path().to_owned();
    let body: Value = response.json().await.expect("a JSON body");
    assert_eq!(body["type"], format!("https://waybill.dev/problems/{slug}"));
    assert_eq!(body["status"], status.as_u16());
    assert_eq!(body["instance"], path);
    assert!(body["title"].is_string(), "{body}");
    let trace_id = body["traceId"].as_str().unwrap_or_default();
    assert_eq!(trace_id.len(), 32, "{body}");
    body
}
