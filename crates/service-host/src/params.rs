//! What comes in the URL: ids in the path, parameters in the query.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::problem::Problem;
use crate::violations::Violation;

/// The one id in the path, as the typed id `T`.
///
/// Text that is no UUID is the id of nothing: 404.
#[derive(Debug, Clone, Copy)]
pub struct PathId<T = Uuid>(pub T);

impl<T: From<Uuid>, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(Problem::internal)?;
        let id = Uuid::try_parse(&text)
            .map_err(|_| Problem::not_found("The id in the path is not a UUID."))?;
        Ok(Self(T::from(id)))
    }
}

/// The parameters of the query as `T`.
///
/// A parameter that does not fit is refused with 422 by its name; give `T`
/// `#[serde(deny_unknown_fields)]` to refuse unknown ones as well.
#[derive(Debug, Clone, Copy)]
pub struct QueryParams<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(pairs)
            .map(Self)
            .map_err(|error| {
                let name = error.path().to_string();
                let name = name.trim_start_matches('.').to_owned();
                let detail = error.inner().to_string();
                Problem::invalid(vec![Violation::parameter(name, detail)])
            })
    }
}
