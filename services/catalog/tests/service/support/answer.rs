//! An answer of the API, read to its end.

use reqwest::{RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// Status, headers and body; a body that is no JSON is null.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    path: String,
}

impl Answer {
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let path = response.url().path().to_owned();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.bytes().await.expect("a whole body");
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Self {
            status,
            headers,
            body,
            path,
        }
    }

    /// The header as text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a header in ASCII"))
    }

    /// Checks that this is a refusal of the kind, in the form that all refusals have.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, slug: &str) -> &Self {
        let body = &self.body;
        assert_eq!(self.status, status, "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["type"], format!("https://waybill.dev/problems/{slug}"));
        assert_eq!(body["status"], status);
        assert_eq!(body["instance"], self.path);
        assert!(body["title"].is_string(), "{body}");
        let trace_id = body["traceId"].as_str().unwrap_or_default();
        assert_eq!(trace_id.len(), 32, "{body}");
        self
    }

    /// Where the errors of a refusal are: JSON pointers and names of parameters.
    pub(crate) fn error_places(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array();
        errors
            .into_iter()
            .flatten()
            .map(|error| error["pointer"].as_str().or(error["parameter"].as_str()))
            .map(|place| place.expect("a place"))
            .collect()
    }
}
