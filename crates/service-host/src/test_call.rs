//! Requests of tests that are handled inside the process, so that a test can drop them anywhere.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use serde_json::Value;
use tower::Service as _;

use crate::server::RunningService;

/// The largest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// A request to a route.
#[derive(Debug, Clone)]
pub struct TestCall {
    method: Method,
    route: &'static str,
    id: String,
    query: String,
    token: Option<String>,
    body: Option<Value>,
}

impl TestCall {
    /// A request to a route, as its OpenAPI document has it.
    #[must_use]
    pub fn new(method: Method, route: &'static str) -> Self {
        Self {
            method,
            route,
            id: String::new(),
            query: String::new(),
            token: None,
            body: None,
        }
    }

    /// Fills in the `{id}` of the route.
    #[must_use]
    pub fn id(mut self, id: &impl ToString) -> Self {
        self.id = id.to_string();
        self
    }

    /// Adds a query, as `key=value`.
    #[must_use]
    pub fn query(mut self, query: String) -> Self {
        self.query = query;
        self
    }

    /// Adds an access token.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Adds a JSON body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// What the request is for, as `GET /things/{id}`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.route)
    }

    fn request(&self) -> Request {
        let path = self.route.replace("{id}", &self.id) + "?" + &self.query;
        let body = self.body.as_ref().map(ToString::to_string);
        let mut request = Request::new(Body::from(body.unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Some(token) = &self.token
            && let Ok(value) = format!("Bearer {token}").parse()
        {
            headers.insert(header::AUTHORIZATION, value);
        }
        if self.body.is_some() {
            headers.insert(
                header::CONTENT_TYPE,
                header::HeaderValue::from_static("application/json"),
            );
        }
        headers.insert(header::IF_MATCH, header::HeaderValue::from_static("*"));
        request
    }
}

impl RunningService {
    /// Handles a request inside the process, as if it had come over a connection. Dropping the
    /// future does what a client does that goes away.
    pub async fn call(&self, call: &TestCall) -> (StatusCode, Value) {
        let mut routes: Router = self.routes.clone();
        let answer = routes.call(call.request()).await;
        let response = answer.unwrap_or_else(|never| match never {});
        let status = response.status();
        let body = to_bytes(response.into_body(), MAX_ANSWER).await;
        let json = serde_json::from_slice(&body.unwrap_or_default());
        (status, json.unwrap_or_default())
    }
}

/// The operations of an OpenAPI document that no call is for, as `GET /things/{id}`.
///
/// # Errors
///
/// If the document is no JSON.
pub fn uncalled(document: &str, calls: &[TestCall]) -> Result<Vec<String>, serde_json::Error> {
    let document: Value = serde_json::from_str(document)?;
    let called: BTreeSet<String> = calls.iter().map(TestCall::name).collect();
    let paths = document["paths"].as_object().into_iter().flatten();
    Ok(paths
        .flat_map(|(path, operations)| {
            let methods = operations.as_object().into_iter().flatten();
            methods.map(move |(method, _)| format!("{} {path}", method.to_uppercase()))
        })
        .filter(|operation| !called.contains(operation))
        .collect())
}
