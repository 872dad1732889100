//! The OpenAPI document of a service: its own operations, and what all services have alike.

use axum::Router;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::problem::ProblemDetails;
use crate::service::Service;
use crate::violations::Violation;

/// Name of the security scheme for operations that need or take an access token:
/// `security(("bearer" = []))`.
const BEARER: &str = "bearer";

/// The routes of the service and the document that describes them.
pub(crate) fn describe<S: Service>() -> (Router<App<S>>, OpenApi) {
    let (routes, mut document) = OpenApiRouter::with_openapi(base::<S>())
        .merge(S::routes())
        .split_for_parts();
    for item in document.paths.paths.values_mut() {
        operations(item).for_each(add_problem);
    }
    (routes, document)
}

/// `/swagger-ui` and `/api-docs/openapi.json`.
pub(crate) fn routes(document: OpenApi) -> Router {
    SwaggerUi::new("/swagger-ui")
        .url("/api-docs/openapi.json", document)
        .into()
}

fn base<S: Service>() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    let components = ComponentsBuilder::new()
        .schema(ProblemDetails::name(), ProblemDetails::schema())
        .schema(Violation::name(), Violation::schema())
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .build();
    let info = InfoBuilder::new()
        .title(format!("Waybill {}", S::NAME))
        .description(Some(S::ABOUT))
        .version(env!("CARGO_PKG_VERSION"))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ]
    .into_iter()
    .flatten()
}

/// Every operation may answer with a problem, so none of them has to say it.
fn add_problem(operation: &mut Operation) {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ProblemDetails::name())))
        .build();
    let problem = ResponseBuilder::new()
        .description("Refused or failed, with the reason (RFC 9457).")
        .content("application/problem+json", content)
        .build();
    operation
        .responses
        .responses
        .entry("default".to_owned())
        .or_insert_with(|| problem.into());
}
