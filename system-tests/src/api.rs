//! HTTP as curl would do it.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status; 0 if nobody answered.
    pub status: u16,
    /// The header `ETag`, if there is one.
    pub etag: Option<String>,
    /// The JSON of the body; null if there is none.
    pub body: Value,
}

/// A client of one service.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    token: Option<String>,
    client: Client,
}

impl Api {
    pub(crate) fn new(base: String) -> Self {
        let client = Client::builder()
            .timeout(Duration::from_secs(15))
            .build()
            .expect("a client");
        Self {
            base,
            token: None,
            client,
        }
    }

    /// The same, signed in.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, None).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body), None).await
    }

    /// PUT with a JSON body, over the version that was read.
    pub async fn put(&self, path: &str, body: Value, if_match: Option<&str>) -> Answer {
        self.send(Method::PUT, path, Some(body), if_match).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None, None).await
    }

    /// What is there in plain text; empty if nobody answers.
    pub(crate) async fn text(&self, path: &str) -> String {
        let request = self.client.get(format!("{}{path}", self.base));
        match request.send().await {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        if_match: Option<&str>,
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(if_match) = if_match {
            request = request.header("If-Match", if_match);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        match request.send().await {
            Ok(response) => Answer {
                status: response.status().as_u16(),
                etag: response
                    .headers()
                    .get("etag")
                    .and_then(|etag| etag.to_str().ok())
                    .map(str::to_owned),
                body: response.json().await.unwrap_or(Value::Null),
            },
            Err(_) => Answer {
                status: 0,
                etag: None,
                body: Value::Null,
            },
        }
    }
}
