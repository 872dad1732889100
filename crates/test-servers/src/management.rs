//! RabbitMQ's management API.

use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

/// How long it may take for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The management API's client.
#[derive(Debug)]
pub(crate) struct Management {
    base: Url,
    client: Client,
}

impl Management {
    pub(crate) fn new(base: Url) -> Self {
        let client = Client::builder()
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .build()
            .expect("a client without TLS has nothing to fail on");
        Self { base, client }
    }

    /// A request to `/api/…`, each part of the path escaped.
    fn request(&self, method: Method, path: &[&str], query: &str) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an HTTP URL has a path")
            .clear()
            .push("api")
            .extend(path);
        url.set_query((!query.is_empty()).then_some(query));
        self.client.request(method, url)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &str) -> T {
        send(self.request(Method::GET, path, query))
            .await
            .json()
            .await
            .unwrap_or_else(|error| panic!("the management API's {path:?}: {error}"))
    }

    pub(crate) async fn put(&self, path: &[&str], body: impl Into<reqwest::Body>) {
        let request = self.request(Method::PUT, path, "");
        send(
            request
                .header("content-type", "application/json")
                .body(body),
        )
        .await;
    }

    pub(crate) async fn delete(&self, path: &[&str]) {
        send(self.request(Method::DELETE, path, "")).await;
    }

    /// Deletes what somebody else may be deleting.
    pub(crate) async fn delete_if_there(&self, path: &[&str]) {
        let answer = self.request(Method::DELETE, path, "").send().await;
        match answer.and_then(Response::error_for_status) {
            Ok(_) => {}
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {}
            Err(error) => panic!("TEST_RABBITMQ_MANAGEMENT_URL: {error}"),
        }
    }
}

async fn send(request: reqwest::RequestBuilder) -> Response {
    request
        .send()
        .await
        .and_then(Response::error_for_status)
        .unwrap_or_else(|error| panic!("TEST_RABBITMQ_MANAGEMENT_URL: {error}"))
}
