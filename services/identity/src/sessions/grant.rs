//! Requests for tokens (RFC 6749, sections 4.3 and 6), as JSON or as a form.

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

/// Asks for tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// `password` or `refresh_token`.
    #[schema(example = "password")]
    grant_type: String,
    /// With `password`: the user name.
    username: Option<String>,
    /// With `password`: the password.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<SecretString>,
    /// With `refresh_token`: the newest refresh token of the session.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretString>,
    /// Accepted and ignored: there are no scopes.
    #[serde(rename = "scope")]
    _scope: Option<String>,
    /// Accepted and ignored: clients need no registration.
    #[serde(rename = "client_id")]
    _client_id: Option<String>,
}

/// What a client offers for tokens.
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
    /// The grant, with all that belongs to it.
    pub(super) fn grant(self) -> Result<Grant, Problem> {
        let mut violations = Violations::new();
        let grant = match &*self.grant_type {
            "password" => {
                let user_name = violations.check("/username", needed(self.username));
                let password = violations.check("/password", needed(self.password));
                user_name
                    .zip(password)
                    .map(|(user_name, password)| Grant::Password {
                        user_name,
                        password,
                    })
            }
            "refresh_token" => violations
                .check("/refresh_token", needed(self.refresh_token))
                .map(|token| Grant::Refresh(RefreshToken::presented(token))),
            _ => return Err(unsupported_grant_type()),
        };
        grant.ok_or_else(|| violations.into())
    }
}

fn needed<T>(value: Option<T>) -> Result<T, &'static str> {
    value.ok_or("is needed for this grant type")
}

fn unsupported_grant_type() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "unsupported-grant-type",
        "This kind of grant is not supported",
    )
    .with_detail("`grant_type` is `password` or `refresh_token`.")
    .with_member("error", "unsupported_grant_type")
}

/// RFC 6749, section 5.2: the words that OAuth clients look for are in `error`.
fn invalid_request() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "invalid-request",
        "The request is not readable",
    )
    .with_member("error", "invalid_request")
}
