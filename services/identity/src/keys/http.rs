//! The endpoint that publishes the public keys.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use service_host::App;
use service_host::problem::{Answer, Problem};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Identity;

pub(crate) fn routes() -> OpenApiRouter<App<Identity>> {
    OpenApiRouter::new().routes(routes!(key_set))
}

/// Get the public keys that verify access tokens (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, description = "A JWK set of Ed25519 keys (RFC 8037).", body = Object)))]
async fn key_set(State(app): State<App<Identity>>) -> Answer<impl IntoResponse> {
    let set = app.state.keys.jwk_set().map_err(Problem::internal)?;
    Ok(([(header::CACHE_CONTROL, "public, max-age=60")], Json(set)))
}
