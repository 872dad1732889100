//! What other services ask for when a message that they need has not come yet. Not routed by the
//! gateway.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use service_host::problem::Answer;
use service_host::{App, QueryParams};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{Price, Product, storage};
use crate::Catalog;

/// The API for services.
pub(super) fn routes() -> OpenApiRouter<App<Catalog>> {
    OpenApiRouter::new().routes(routes!(look_up))
}

/// Which products are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LookUpParams {
    /// Ids of products, separated by commas: 1 to 100.
    #[param(value_type = String)]
    ids: Ids,
}

/// Up to 100 different ids.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Ids(BTreeSet<Uuid>);

/// Why a text is no list of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum InvalidIds {
    #[error("must be UUIDs, separated by commas")]
    NotIds,
    #[error("must be at most {max} ids", max = Ids::MAX)]
    TooMany,
}

impl Ids {
    const MAX: usize = 100;
}

impl TryFrom<String> for Ids {
    type Error = InvalidIds;

    fn try_from(text: String) -> Result<Self, InvalidIds> {
        if text.split(',').count() > Self::MAX {
            return Err(InvalidIds::TooMany);
        }
        let ids = text.split(',').map(|id| Uuid::try_parse(id.trim()));
        let ids = ids.collect::<Result<_, _>>();
        ids.map(Self).map_err(|_| InvalidIds::NotIds)
    }
}

/// What an order has to know of a product.
#[derive(Debug, Serialize, ToSchema)]
struct ProductSummary {
    /// Identifies the product.
    id: Uuid,
    /// What it is called.
    name: String,
    /// What one costs, with two decimal places.
    #[schema(value_type = String, example = "19.90")]
    price: Price,
    /// Rises with every change: an older picture is not to replace a newer one.
    version: i64,
}

impl From<Product> for ProductSummary {
    fn from(product: Product) -> Self {
        Self {
            id: product.id().0,
            name: product.details().name.to_string(),
            price: product.details().price,
            version: product.version(),
        }
    }
}

/// Names and prices of products, for services
///
/// Ids that no product has are left out.
#[utoipa::path(get, path = "/integration-api/catalog/product", tag = "integration",
    params(LookUpParams),
    responses((status = 200, description = "Those that exist", body = Vec<ProductSummary>)))]
async fn look_up(
    State(app): State<App<Catalog>>,
    QueryParams(params): QueryParams<LookUpParams>,
) -> Answer<Json<Vec<ProductSummary>>> {
    let ids: Vec<_> = params.ids.0.into_iter().collect();
    let mut connection = app.pool.acquire().await?;
    let products = storage::find_many(&mut connection, &ids).await?;
    Ok(Json(products.into_iter().map(Into::into).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_before_they_are_read() {
        let id = Uuid::now_v7().to_string();
        let ids = |count: usize| Ids::try_from(vec![id.as_str(); count].join(","));
        assert_eq!(ids(100).map(|ids| ids.0.len()), Ok(1));
        assert_eq!(ids(101), Err(InvalidIds::TooMany));
        for text in ["", "tea", "5995897b-1de9-7272-b31c-3a165bbe7b18,"] {
            assert_eq!(Ids::try_from(text.to_owned()), Err(InvalidIds::NotIds));
        }
    }
}
