//! The session endpoints.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use secrecy::SecretString;
use serde::Deserialize;
use service_host::problem::Answer;
use service_host::{App, JsonBody};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::grant::TokenRequest;
use super::refresh_token::RefreshToken;
use super::sign_in::{self, Tokens};
use super::storage;
use crate::Identity;

const TAG: &str = "sessions";

pub(crate) fn routes() -> OpenApiRouter<App<Identity>> {
    OpenApiRouter::new()
        .routes(routes!(token))
        .routes(routes!(logout))
}

/// Sign in, or refresh a session.
///
/// Returns 400 with `error` = `invalid_grant` for invalid credentials (RFC 6749, section 5.2), and
/// 429 with `Retry-After` after five wrong passwords in a row for a user name.
#[utoipa::path(post, path = "/api/identity/token", tag = TAG,
    request_body(content(
        (TokenRequest = "application/json"),
        (TokenRequest = "application/x-www-form-urlencoded"),
    )),
    responses((status = 200, description = "An access token and a refresh token.", body = Tokens)))]
async fn token(
    State(app): State<App<Identity>>,
    request: TokenRequest,
) -> Answer<impl IntoResponse> {
    let tokens = sign_in::tokens_for(&app, request.grant()?).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(tokens)))
}

/// The session to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Logout {
    /// Any refresh token of the session, used or not.
    #[schema(value_type = String)]
    refresh_token: SecretString,
}

/// Sign out.
///
/// The session's refresh token becomes invalid. Its access token stays valid until it expires. An
/// unknown refresh token is not an error: its session has ended already (RFC 7009, section 2.2).
#[utoipa::path(post, path = "/api/identity/logout", tag = TAG, request_body = Logout,
    responses((status = 204, description = "The session has ended.")))]
async fn logout(
    State(app): State<App<Identity>>,
    JsonBody(Logout { refresh_token }): JsonBody<Logout>,
) -> Answer<StatusCode> {
    let token = RefreshToken::presented(refresh_token);
    storage::end_by_token(&app.pool, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
