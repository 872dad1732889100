//! Products over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use event_bus::RepositoryError;
use jiff::Timestamp;
use service_host::problem::Answer;
use service_host::{App, IfMatch, JsonBody, Page, PathId, Problem, QueryParams, Violation};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::editing::{self, EditError};
use super::json::{NewPrice, NewProduct, ProductReplacement};
use super::listing::{self, ListParams};
use super::{Product, ProductId, ProductJson, integration, storage, tagged};
use crate::{Catalog, ProductManager};

/// The API of products.
pub(crate) fn routes() -> OpenApiRouter<App<Catalog>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, replace, delete))
        .routes(routes!(set_price))
        .merge(integration::routes())
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        match error {
            EditError::NotFound => unknown_product(),
            EditError::OpenReservations { count } => {
                Self::conflict("open-reservations", "Orders hold stock of the product")
                    .with_detail("It can be deleted when all of them have given their stock back.")
                    .with_member("openReservations", count)
            }
            EditError::Repository(RepositoryError::Database(error)) => error.into(),
            EditError::Repository(error) => Self::internal(error),
        }
    }
}

/// 404 for an id that no product has.
pub(crate) fn unknown_product() -> Problem {
    Problem::not_found("There is no product with the id in the path.")
}

/// A page of the products
#[utoipa::path(get, path = "/api/catalog/product", tag = "products", params(ListParams),
    responses((status = 200, description = "The page", body = Page<ProductJson>)))]
async fn list(
    State(app): State<App<Catalog>>,
    QueryParams(params): QueryParams<ListParams>,
) -> Answer<Json<Page<ProductJson>>> {
    if !params.cursor_fits() {
        let detail = "comes from a list with another `sort`";
        return Err(Problem::invalid(vec![Violation::parameter(
            "cursor", detail,
        )]));
    }
    let mut connection = app.pool.acquire().await?;
    let page = listing::page(&mut connection, &params).await?;
    Ok(Json(page.map(|product| ProductJson::from(&product))))
}

/// Puts a product into the catalog
#[utoipa::path(post, path = "/api/catalog/product", tag = "products", security(("bearer" = [])),
    request_body = NewProduct,
    responses((status = 201, description = "The product", body = ProductJson,
        headers(("Location", description = "Where it is"), ("ETag", description = "Its version")))))]
async fn create(
    _: ProductManager,
    State(app): State<App<Catalog>>,
    JsonBody(body): JsonBody<NewProduct>,
) -> Answer<impl IntoResponse> {
    let (details, stock) = body.parse()?;
    let id = ProductId(Uuid::now_v7());
    let product = Product::new(id, details, stock, Timestamp::now());
    let mut work = app.bus.begin().await?;
    editing::create(&mut work, &product)
        .await
        .map_err(EditError::from)?;
    work.commit().await?;
    let location = [(header::LOCATION, format!("/api/catalog/product/{id}"))];
    Ok((StatusCode::CREATED, location, tagged(&product)))
}

/// A product
#[utoipa::path(get, path = "/api/catalog/product/{id}", tag = "products",
    params(("id" = Uuid, Path, description = "The product")),
    responses((status = 200, description = "The product", body = ProductJson,
        headers(("ETag", description = "Its version, for `If-Match`")))))]
async fn get(
    State(app): State<App<Catalog>>,
    PathId(id): PathId<ProductId>,
) -> Answer<impl IntoResponse> {
    let mut connection = app.pool.acquire().await?;
    let product = storage::find(&mut connection, id).await?;
    Ok(tagged(&product.ok_or_else(unknown_product)?))
}

/// Replaces what the shop says about a product
///
/// The stock is left alone. Another price is told to open orders, see `PUT …/price`.
#[utoipa::path(put, path = "/api/catalog/product/{id}", tag = "products", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The product"),
        ("If-Match" = String, Header, description = "The `ETag` of what was read")),
    request_body = ProductReplacement,
    responses((status = 200, description = "The product as it is now", body = ProductJson,
        headers(("ETag", description = "Its version")))))]
async fn replace(
    _: ProductManager,
    State(app): State<App<Catalog>>,
    PathId(id): PathId<ProductId>,
    if_match: IfMatch,
    JsonBody(body): JsonBody<ProductReplacement>,
) -> Answer<impl IntoResponse> {
    let details = body.parse()?;
    let mut work = app.bus.begin().await?;
    let mut product = editing::open(&mut work, id).await?;
    if_match.require(product.version())?;
    editing::replace(&mut work, &mut product, details).await?;
    work.commit().await?;
    Ok(tagged(&product))
}

/// Takes a product out of the catalog
///
/// Refused while orders hold stock of it.
#[utoipa::path(delete, path = "/api/catalog/product/{id}", tag = "products",
    security(("bearer" = [])), params(("id" = Uuid, Path, description = "The product")),
    responses((status = 204, description = "It is gone")))]
async fn delete(
    _: ProductManager,
    State(app): State<App<Catalog>>,
    PathId(id): PathId<ProductId>,
) -> Answer<StatusCode> {
    let mut work = app.bus.begin().await?;
    let product = editing::open(&mut work, id).await?;
    editing::delete(&mut work, &product).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets the price of a product
///
/// The price it has changes nothing. Another one raises the version, and orders that have not
/// shipped hear of it.
#[utoipa::path(put, path = "/api/catalog/product/{id}/price", tag = "products",
    security(("bearer" = [])), params(("id" = Uuid, Path, description = "The product")),
    request_body = NewPrice,
    responses((status = 200, description = "The product as it is now", body = ProductJson,
        headers(("ETag", description = "Its version")))))]
async fn set_price(
    _: ProductManager,
    State(app): State<App<Catalog>>,
    PathId(id): PathId<ProductId>,
    JsonBody(body): JsonBody<NewPrice>,
) -> Answer<impl IntoResponse> {
    let price = body.parse()?;
    let mut work = app.bus.begin().await?;
    let mut product = editing::open(&mut work, id).await?;
    editing::set_price(&mut work, &mut product, price).await?;
    work.commit().await?;
    Ok(tagged(&product))
}
