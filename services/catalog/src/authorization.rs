//! Who may write.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use service_host::{App, Caller, Problem};

use crate::Catalog;

/// What a user needs to change products and stock.
const MANAGE_PRODUCTS: &str = "catalog.products.manage";

/// A caller who may change products and stock; anybody else is refused.
///
/// As the first extractor of a handler it refuses before the request is looked at any further.
pub(crate) struct ProductManager;

impl FromRequestParts<App<Catalog>> for ProductManager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<Catalog>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        caller.require(MANAGE_PRODUCTS)?;
        Ok(Self)
    }
}
