//! The API of orders.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::Deserialize;
use service_host::{
    Answer, Caller, Cursor, ETag, JsonBody, Page, PageLimit, PathId, Problem, QueryParams,
    Violation, Violations,
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::access::{self, READ};
use super::body::{HistoryBody, NewOrderBody, OrderBody};
use super::history::{Cause, Origin};
use super::order::Draft;
use super::placing::{NotPlaced, WriteError};
use super::storage::{self, Filter};
use super::transitions::{Outcome, Step, advance, announce};
use super::{CustomerName, Order, OrderState, Quantity, Reason, Trigger};
use crate::ids::{CustomerId, OrderId, ProductId};
use crate::{App, products};

/// How long a client waits that is sent away because too many are waiting.
const BUSY_RETRY: Duration = Duration::from_secs(1);
/// How long a client waits while catalog, which alone knows the product, is away.
const CATALOG_RETRY: Duration = Duration::from_secs(5);

/// All endpoints of orders.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(place, list))
        .routes(routes!(get))
        .routes(routes!(history))
        .routes(routes!(cancel))
}

/// Place an order
///
/// The order is `placed` at once and becomes `confirmed` or `rejected` when catalog has spoken
/// about the stock. Name and price of the product are taken from ordering's own copy.
#[utoipa::path(
    post, path = "/api/ordering/order", tag = "orders", operation_id = "placeOrder",
    request_body = NewOrderBody, security((), ("bearer" = [])),
    responses((status = 201, description = "The order is placed.", body = OrderBody, headers(
        ("Location" = String, description = "Path of the order"),
        ("ETag" = String, description = "Version of the order"),
    )))
)]
async fn place(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<NewOrderBody>,
) -> Answer<(StatusCode, ETag, [(HeaderName, String); 1], Json<OrderBody>)> {
    let draft = draft(&body, &caller)?;
    let (product, desk) = (draft.product_id, &app.state.desk);
    let mut placed = desk.place(&app.bus, &app.settings, draft.clone()).await;
    if let Err(NotPlaced::ProductUnheard) = placed {
        ask_catalog(&app, product).await?;
        placed = desk.place(&app.bus, &app.settings, draft).await;
    }
    let order = placed?;
    let location = format!("/api/ordering/order/{}", order.id);
    Ok((
        StatusCode::CREATED,
        ETag(order.version),
        [(header::LOCATION, location)],
        Json(order.into()),
    ))
}

/// What the body says, checked; of a signed-in customer, what the token says.
fn draft(body: &NewOrderBody, caller: &Caller) -> Answer<Draft> {
    let mut violations = Violations::new();
    let customer_name = match (caller, &body.customer_name) {
        (Caller::User(user), _) => Some(CustomerName::fitting(&user.name)),
        (Caller::Guest, Some(name)) => violations.check("/customerName", CustomerName::parse(name)),
        (Caller::Guest, None) => {
            violations.add("/customerName", "is required of somebody not signed in");
            None
        }
    };
    let quantity = body.quantity.map_or(Ok(Quantity::ONE), Quantity::new);
    let quantity = violations.check("/quantity", quantity);
    let (Some(customer_name), Some(quantity)) = (customer_name, quantity) else {
        return Err(violations.into());
    };
    Ok(Draft {
        customer_name,
        customer_id: caller.user().map(|user| CustomerId(user.id)),
        product_id: body.product_id,
        quantity,
    })
}

/// Asks catalog for a product that no event has told of, and keeps the answer.
async fn ask_catalog(app: &App, id: ProductId) -> Answer<()> {
    let asked = app
        .state
        .catalog
        .product(&app.settings.catalog_url, id)
        .await;
    let product = asked.map_err(|error| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "product-not-known-yet",
            "The product is not known here yet",
        )
        .with_detail("Catalog, which would know, can't be asked at the moment.")
        .retry_after(CATALOG_RETRY)
        .caused_by(error)
    })?;
    let product = product.ok_or_else(unknown_product)?;
    let mut connection = app.pool.acquire().await?;
    products::storage::keep(&mut connection, &product).await?;
    Ok(())
}

fn unknown_product() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "unknown-product",
        "There is no such product",
    )
    .with_errors(vec![Violation::field(
        "/productId",
        "is no product of this shop",
    )])
}

/// An error that several requests got together.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Shared(Arc<WriteError>);

impl From<NotPlaced> for Problem {
    fn from(reason: NotPlaced) -> Self {
        match reason {
            NotPlaced::ProductGone => unknown_product(),
            NotPlaced::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-orders",
                "Too many orders are waiting",
            )
            .retry_after(BUSY_RETRY)
            .caused_by(reason),
            NotPlaced::Failed(error) if error.is_passing() => Self::unavailable(Shared(error)),
            NotPlaced::Failed(error) => Self::internal(Shared(error)),
            // The product was kept a moment ago, or shutdown got in between.
            NotPlaced::ProductUnheard | NotPlaced::Stopped => Self::unavailable(reason),
        }
    }
}

/// Which orders are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only orders in this state.
    state: Option<OrderState>,
    /// Only orders of this product.
    product_id: Option<ProductId>,
    /// How many are on a page.
    #[serde(default)]
    #[param(inline)]
    limit: PageLimit,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<OrderId>>,
}

/// List orders
///
/// Newest first. A user sees their own; the permission `ordering.orders.read` shows all.
#[utoipa::path(
    get, path = "/api/ordering/order", tag = "orders", operation_id = "listOrders",
    params(ListQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of orders.", body = Page<OrderBody>))
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    QueryParams(query): QueryParams<ListQuery>,
) -> Answer<Json<Page<OrderBody>>> {
    let user = caller.signed_in()?;
    let filter = Filter {
        customer_id: (!user.may(READ)).then_some(CustomerId(user.id)),
        product_id: query.product_id,
        state: query.state,
        before: query.cursor.map(|cursor| cursor.0),
    };
    let rows = storage::list(&app.pool, filter, query.limit.rows()).await?;
    let page = Page::from_rows(rows, query.limit, |order| order.id);
    Ok(Json(page.map(OrderBody::from)))
}

/// Look at an order
///
/// One's own, or one placed by a guest, to whoever has its id; with the permission
/// `ordering.orders.read` any.
#[utoipa::path(
    get, path = "/api/ordering/order/{id}", tag = "orders", operation_id = "getOrder",
    params(("id" = OrderId, Path, description = "The order")), security((), ("bearer" = [])),
    responses((status = 200, description = "The order.", body = OrderBody, headers(
        ("ETag" = String, description = "Version of the order"),
    )))
)]
async fn get(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<OrderId>,
) -> Answer<(ETag, Json<OrderBody>)> {
    let order = visible(&app, id, &caller).await?;
    Ok((ETag(order.version), Json(order.into())))
}

/// What happened to an order
///
/// Oldest first: every change, and every message that changed nothing. Visible to whom the order
/// is visible.
#[utoipa::path(
    get, path = "/api/ordering/order/{id}/history", tag = "orders", operation_id = "getOrderHistory",
    params(("id" = OrderId, Path, description = "The order")), security((), ("bearer" = [])),
    responses((status = 200, description = "The history.", body = [HistoryBody]))
)]
async fn history(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<OrderId>,
) -> Answer<Json<Vec<HistoryBody>>> {
    let order = visible(&app, id, &caller).await?;
    let rows = storage::history(&app.pool, order.id).await?;
    Ok(Json(rows.into_iter().map(HistoryBody::from).collect()))
}

/// Cancel an order
///
/// As long as it is `placed` or `confirmed`; its stock is released. For the owner, for whoever has
/// the id of a guest's order, and with the permission `ordering.orders.manage`.
#[utoipa::path(
    post, path = "/api/ordering/order/{id}/cancel", tag = "orders", operation_id = "cancelOrder",
    params(("id" = OrderId, Path, description = "The order")), security((), ("bearer" = [])),
    responses((status = 200, description = "The order is cancelled.", body = OrderBody, headers(
        ("ETag" = String, description = "Version of the order"),
    )))
)]
async fn cancel(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<OrderId>,
) -> Answer<(ETag, Json<OrderBody>)> {
    let order = visible(&app, id, &caller).await?;
    access::require_cancel(&order, &caller)?;

    let mut work = app.bus.begin().await?;
    let step = Step {
        order_id: id,
        reason: Some(Reason::Requested),
        cause: Cause {
            origin: caller
                .user()
                .map_or(Origin::Guest, |user| Origin::User(user.id)),
            trace_id: work.trace_id().map(str::to_owned),
        },
    };
    let outcome = advance(&mut work, Trigger::CancelRequested, &[step])
        .await?
        .pop();
    match outcome {
        Some(Outcome::Changed(order)) => {
            announce(&mut work, &order).map_err(Problem::internal)?;
            work.commit().await?;
            Ok((ETag(order.version), Json(order.into())))
        }
        // Without a commit, the refusal stays out of the history.
        Some(Outcome::Ignored(state)) => Err(wrong_state(state)),
        Some(Outcome::Unknown) | None => Err(access::no_such_order()),
    }
}

fn wrong_state(state: OrderState) -> Problem {
    Problem::conflict(
        "wrong-state",
        "The order is in a state that does not allow this",
    )
    .with_member("state", state.as_str())
}

async fn visible(app: &App, id: OrderId, caller: &Caller) -> Answer<Order> {
    access::visible(storage::find(&app.pool, id).await?, caller)
}
