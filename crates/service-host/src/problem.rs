//! Refusals and failures as problem details (RFC 9457).
//!
//! A handler returns a [`Problem`]; one layer around all routes writes its body, adds the path as
//! `instance` and the trace id, and logs what was the server's fault. Nothing of the cause of a
//! problem reaches the client.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::violations::Violation;

/// Where the types of problems are documented; the slug of a problem follows.
const TYPE_BASE: &str = "https://waybill.dev/problems/";

/// How long a client is asked to wait when the database is away.
const AWAY_RETRY: Duration = Duration::from_secs(2);

/// An answer with status 4xx or 5xx.
///
/// The `slug` is the stable part of the problem's `type`: clients decide by it, so it never
/// changes once published. The title belongs to the slug, the detail to this one occurrence.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: Option<String>,
    errors: Vec<Violation>,
    members: Map<String, Value>,
    headers: HeaderMap,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The result of a handler that may refuse.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of a type of its own.
    #[must_use]
    pub fn new(status: StatusCode, slug: &'static str, title: &'static str) -> Self {
        Self(Box::new(Parts {
            status,
            slug,
            title,
            detail: None,
            errors: Vec::new(),
            members: Map::new(),
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    /// Adds what is particular to this occurrence, written for the client's developer.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds an extension member, such as the current `state` of what could not be changed.
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the fields that are wrong.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Violation>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Adds what went wrong inside. It is logged, and never answered.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds `Retry-After`, rounded up to whole seconds.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// 401: nobody is signed in, and somebody has to be.
    #[must_use]
    pub fn not_signed_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not-signed-in", "Sign in first")
            .with_detail("This needs an access token: `Authorization: Bearer …`.")
            .with_header(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"waybill\""),
            )
    }

    /// 401: there is a token, and it is not accepted.
    #[must_use]
    pub fn invalid_token(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid-token",
            "The access token is not accepted",
        )
        .with_detail(detail)
        .with_header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"waybill\", error=\"invalid_token\""),
        )
    }

    /// 403: the caller is known and lacks a permission.
    #[must_use]
    pub fn forbidden(permission: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed")
            .with_detail(format!("This needs the permission `{permission}`."))
    }

    /// 404: there is no such thing, or none that this caller may see.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found").with_detail(detail)
    }

    /// 409: the state of the thing does not allow it.
    #[must_use]
    pub fn conflict(slug: &'static str, title: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, slug, title)
    }

    /// 422: the request is readable and what it says is wrong.
    #[must_use]
    pub fn invalid(errors: Vec<Violation>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation",
            "The request is not valid",
        )
        .with_errors(errors)
    }

    /// 429: asked too often; the client may try again after `wait`.
    #[must_use]
    pub fn too_many_requests(wait: Duration) -> Self {
        Self::of_status(StatusCode::TOO_MANY_REQUESTS).retry_after(wait)
    }

    /// 503: something that is needed is away, and will be back.
    #[must_use]
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of_status(StatusCode::SERVICE_UNAVAILABLE)
            .retry_after(AWAY_RETRY)
            .caused_by(cause)
    }

    /// 500: our own fault.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of_status(StatusCode::INTERNAL_SERVER_ERROR).caused_by(cause)
    }

    /// The problem that says no more than its status, for answers that were not written here:
    /// an unknown route, a method that is not allowed, a body that is too large.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        let (slug, title) = match status {
            StatusCode::BAD_REQUEST => ("bad-request", "The request is not readable"),
            StatusCode::NOT_FOUND => ("not-found", "Not found"),
            StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "Method not allowed here"),
            StatusCode::PAYLOAD_TOO_LARGE => ("body-too-large", "The body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (
                "unsupported-media-type",
                "The type of the body is not supported",
            ),
            StatusCode::TOO_MANY_REQUESTS => ("too-many-requests", "Too many requests"),
            StatusCode::SERVICE_UNAVAILABLE => ("unavailable", "Not available at the moment"),
            StatusCode::INTERNAL_SERVER_ERROR => ("internal", "Something went wrong here"),
            status if status.is_server_error() => ("internal", "Something went wrong here"),
            _ => ("refused", "The request was refused"),
        };
        Self::new(status, slug, title)
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable part of the `type`.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        self.0.slug
    }

    /// What went wrong inside, if the client is not to blame.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// What was said of this occurrence, else its wrong fields in a sentence, else the title.
    fn detail(&self) -> String {
        let parts = &self.0;
        let of_fields = || {
            let fields: Vec<String> = parts.errors.iter().map(ToString::to_string).collect();
            (!fields.is_empty()).then(|| format!("{}.", fields.join("; ")))
        };
        let detail = parts.detail.clone().or_else(of_fields);
        detail.unwrap_or_else(|| format!("{}.", parts.title))
    }

    pub(crate) fn body(&self, instance: &str, trace_id: Option<String>) -> ProblemDetails {
        ProblemDetails {
            kind: format!("{TYPE_BASE}{}", self.0.slug),
            title: self.0.title.to_owned(),
            status: self.0.status.as_u16(),
            detail: self.detail(),
            instance: instance.to_owned(),
            trace_id,
            errors: self.0.errors.clone(),
            members: self.0.members.clone(),
        }
    }
}

/// The answer carries the problem as an extension; the layer around all routes writes its headers
/// and its body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The body of every answer with status 4xx or 5xx, `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemDetails {
    /// Stable URI of the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "https://waybill.dev/problems/validation")]
    kind: String,
    /// What this kind of problem is, the same for all of its kind.
    title: String,
    /// The HTTP status, repeated.
    #[schema(example = 422)]
    status: u16,
    /// What is particular to this occurrence.
    detail: String,
    /// Path of the request.
    instance: String,
    /// Trace id of the request, to be quoted to whoever operates the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// The parts of the request that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Violation>,
    /// Members of this kind of problem alone.
    #[serde(flatten)]
    #[schema(ignore)]
    members: Map<String, Value>,
}
