//! Stock over HTTP.

use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use service_host::problem::Answer;
use service_host::{App, JsonBody, PathId, Problem, Violations};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::storage;
use super::{Restock, StockCount};
use crate::products::{self, ProductId, ProductJson};
use crate::{Catalog, ProductManager};

/// The API of stock.
pub(crate) fn routes() -> OpenApiRouter<App<Catalog>> {
    OpenApiRouter::new().routes(routes!(restock))
}

/// Pieces that have come in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Restock)]
struct RestockJson {
    /// How many.
    #[schema(minimum = 1, maximum = 999_999)]
    quantity: i64,
}

/// Adds to the stock of a product
///
/// Neither version nor `ETag` change: they stand for what `PUT` replaces, and stock is not of it.
#[utoipa::path(post, path = "/api/catalog/product/{id}/restock", tag = "stock",
    security(("bearer" = [])), params(("id" = Uuid, Path, description = "The product")),
    request_body = RestockJson,
    responses((status = 200, description = "The product as it is now", body = ProductJson,
        headers(("ETag", description = "Its version")))))]
async fn restock(
    _: ProductManager,
    State(app): State<App<Catalog>>,
    PathId(id): PathId<ProductId>,
    JsonBody(body): JsonBody<RestockJson>,
) -> Answer<impl IntoResponse> {
    let mut violations = Violations::new();
    let quantity = violations
        .check("/quantity", Restock::parse(body.quantity))
        .ok_or(violations)?;
    let mut work = app.bus.begin().await?;
    let restocked = storage::restock(&mut work, id, quantity).await?;
    let product = products::storage::find(&mut work, id).await?;
    let product = product.ok_or_else(products::unknown_product)?;
    if !restocked {
        return Err(
            Problem::conflict("stock-limit", "The stock would exceed its limit").with_detail(
                format!("A product is restocked to at most {}.", StockCount::MAX),
            ),
        );
    }
    work.commit().await?;
    Ok(products::tagged(&product))
}
