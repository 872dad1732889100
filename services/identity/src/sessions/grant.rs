//! Token requests (RFC 6749, sections 4.3 and 6), as JSON or as a form.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use secrecy::SecretString;
use serde::Deserialize;
use service_host::{App, JsonBody, Problem, Violations};
use utoipa::ToSchema;

use super::refresh_token::RefreshToken;
use crate::Identity;

const FORM: &str = "application/x-www-form-urlencoded";

/// A token request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// `password` or `refresh_token`.
    #[schema(example = "password")]
    grant_type: String,
    /// The user name. Required for the grant type `password`.
    username: Option<String>,
    /// The password. Required for the grant type `password`.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<SecretString>,
    /// The newest refresh token of the session. Required for the grant type `refresh_token`.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretString>,
    /// Accepted and ignored: scopes are not supported.
    #[serde(rename = "scope")]
    _scope: Option<String>,
    /// Accepted and ignored: clients are not registered.
    #[serde(rename = "client_id")]
    _client_id: Option<String>,
}

/// The credentials that a client presents for tokens.
pub(super) enum Grant {
    Password {
        user_name: String,
        password: SecretString,
    },
    Refresh(RefreshToken),
}

impl FromRequest<App<Identity>> for TokenRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App<Identity>) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_form = content_type
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(FORM));
        if !is_form {
            return JsonBody::from_request(request, app)
                .await
                .map(|JsonBody(body)| body);
        }
        let bytes = Bytes::from_request(request, app)
            .await
            .map_err(|rejection| Problem::of_status(rejection.status()))?;
        serde_urlencoded::from_bytes(&bytes)
            .map_err(|error| invalid_request().with_detail(error.to_string()))
    }
}

impl TokenRequest {
    /// Returns the grant, or a problem that lists the missing fields.
    pub(super) fn grant(self) -> Result<Grant, Problem> {
        let mut violations = Violations::new();
        let grant = match &*self.grant_type {
            "password" => {
                let user_name = violations.check("/username", required(self.username));
                let password = violations.check("/password", required(self.password));
                user_name
                    .zip(password)
                    .map(|(user_name, password)| Grant::Password {
                        user_name,
                        password,
                    })
            }
            "refresh_token" => violations
                .check("/refresh_token", required(self.refresh_token))
                .map(|token| Grant::Refresh(RefreshToken::presented(token))),
            _ => return Err(unsupported_grant_type()),
        };
        grant.ok_or_else(|| violations.into())
    }
}

fn required<T>(value: Option<T>) -> Result<T, &'static str> {
    value.ok_or("is required for this grant type")
}

fn unsupported_grant_type() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "unsupported-grant-type",
        "The grant type is not supported",
    )
    .with_detail("`grant_type` must be `password` or `refresh_token`.")
    .with_member("error", "unsupported_grant_type")
}

/// OAuth clients read the error code from the member `error` (RFC 6749, section 5.2).
fn invalid_request() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "invalid-request",
        "The request is malformed",
    )
    .with_member("error", "invalid_request")
}
