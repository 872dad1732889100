//! The user endpoints.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use service_host::problem::{Answer, Problem};
use service_host::{
    App, Cursor, ETag, IfMatch, JsonBody, OnConstraint, Page, PageLimit, PathId, Permitted,
    QueryParams, SignedIn,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{Registration, UserBody, UserDetails};
use super::role::{ManageUsers, Role};
use super::storage::{self, USER_NAME_TAKEN};
use super::user::{Profile, User, UserId};
use crate::passwords::{self, Password};
use crate::{Identity, sessions};

const TAG: &str = "users";

pub(crate) fn routes() -> OpenApiRouter<App<Identity>> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(me))
        .routes(routes!(list, create))
        .routes(routes!(get, replace, delete))
}

/// Register as a customer.
#[utoipa::path(post, path = "/api/identity/register", tag = TAG, request_body = Registration,
    responses((status = 201, description = "The new customer.", body = UserBody)))]
async fn register(
    State(app): State<App<Identity>>,
    JsonBody(registration): JsonBody<Registration>,
) -> Answer<impl IntoResponse> {
    let (profile, password) = registration.parse()?;
    insert(&app, profile, password).await
}

/// The signed-in user and their permissions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Me {
    #[serde(flatten)]
    user: UserBody,
    /// The permissions that the user's roles grant.
    permissions: Vec<&'static str>,
}

/// Get the signed-in user.
#[utoipa::path(get, path = "/api/identity/me", tag = TAG, security(("bearer" = [])),
    responses((status = 200, description = "The signed-in user.", body = Me)))]
async fn me(State(app): State<App<Identity>>, SignedIn(caller): SignedIn) -> Answer<Json<Me>> {
    let user = storage::find(&app.pool, UserId(caller.id))
        .await?
        .ok_or_else(|| Problem::invalid_token("The user no longer exists."))?;
    let permissions = Role::permissions_of(&user.profile.roles);
    Ok(Json(Me {
        user: user.into(),
        permissions: permissions.into_iter().collect(),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Text to search for in the user name, name, surname and e-mail address.
    #[param(max_length = 100)]
    filter: Option<String>,
    /// Maximum number of users per page.
    #[serde(default)]
    #[param(inline, required = false)]
    limit: PageLimit,
    /// The `next` value of the previous page.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<String>>,
}

/// List users, ordered by user name.
#[utoipa::path(get, path = "/api/identity/user", tag = TAG, params(ListParams),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of users.", body = Page<UserBody>)))]
async fn list(
    State(app): State<App<Identity>>,
    _manager: Permitted<ManageUsers>,
    QueryParams(params): QueryParams<ListParams>,
) -> Answer<Json<Page<UserBody>>> {
    let after = params.cursor.map(|Cursor(user_name)| user_name);
    let filter = params.filter.as_deref();
    let users = storage::list(&app.pool, filter, after.as_deref(), params.limit.rows()).await?;
    let page = Page::from_rows(users, params.limit, |user| {
        user.profile.user_name.as_str().to_owned()
    });
    Ok(Json(page.map(UserBody::from)))
}

/// Create a user.
#[utoipa::path(post, path = "/api/identity/user", tag = TAG, request_body = UserDetails,
    security(("bearer" = [])),
    responses((status = 201, description = "The new user.", body = UserBody)))]
async fn create(
    State(app): State<App<Identity>>,
    _manager: Permitted<ManageUsers>,
    JsonBody(details): JsonBody<UserDetails>,
) -> Answer<impl IntoResponse> {
    let (profile, password) = details.parse_new()?;
    insert(&app, profile, password).await
}

async fn insert(
    app: &App<Identity>,
    profile: Profile,
    password: Password,
) -> Answer<impl IntoResponse + use<>> {
    let user = User::new(profile);
    // Hash before the unit of work begins: hashing is slow, and a unit of work holds a connection.
    let hash = app.state.hasher.hash(password).await?;
    let mut work = app.bus.begin().await?;
    storage::insert(&mut work, &user)
        .await
        .on_constraint(USER_NAME_TAKEN, user_name_taken)?;
    passwords::storage::set(&mut work, user.id, &hash).await?;
    work.commit().await?;
    let location = (
        header::LOCATION,
        format!("/api/identity/user/{}", user.id.0),
    );
    Ok((
        StatusCode::CREATED,
        [location],
        ETag(user.version),
        Json(UserBody::from(user)),
    ))
}

/// Get a user.
#[utoipa::path(get, path = "/api/identity/user/{id}", tag = TAG, params(("id" = Uuid, Path)),
    security(("bearer" = [])),
    responses((status = 200, description = "The user, with an ETag.", body = UserBody)))]
async fn get(
    State(app): State<App<Identity>>,
    _manager: Permitted<ManageUsers>,
    PathId(id): PathId<UserId>,
) -> Answer<impl IntoResponse> {
    let user = storage::find(&app.pool, id)
        .await?
        .ok_or_else(no_such_user)?;
    Ok((ETag(user.version), Json(UserBody::from(user))))
}

/// Change a user.
///
/// A new password, or `isActive` set to `false`, ends the user's sessions. Other changes appear in
/// the user's access token after the next refresh.
#[utoipa::path(put, path = "/api/identity/user/{id}", tag = TAG, request_body = UserDetails,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "The user's ETag.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The changed user.", body = UserBody)))]
async fn replace(
    State(app): State<App<Identity>>,
    manager: Permitted<ManageUsers>,
    PathId(id): PathId<UserId>,
    if_match: IfMatch,
    JsonBody(details): JsonBody<UserDetails>,
) -> Answer<impl IntoResponse> {
    let (profile, password) = details.parse_change()?;
    if manager.user.id == id.0 && !(profile.is_active && profile.roles.contains(&Role::Admin)) {
        return Err(own_account());
    }
    let hash = match password {
        Some(password) => Some(app.state.hasher.hash(password).await?),
        None => None,
    };
    let mut work = app.bus.begin().await?;
    let found = storage::find_for_update(&mut work, id).await?;
    let mut user = found.ok_or_else(no_such_user)?;
    if_match.require(user.version)?;
    if user.change(profile) {
        storage::update(&mut work, &user)
            .await
            .on_constraint(USER_NAME_TAKEN, user_name_taken)?;
    }
    if let Some(hash) = &hash {
        passwords::storage::set(&mut work, id, hash).await?;
    }
    if hash.is_some() || !user.profile.is_active {
        sessions::storage::end_all_of(&mut work, id).await?;
    }
    work.commit().await?;
    Ok((ETag(user.version), Json(UserBody::from(user))))
}

/// Delete a user.
///
/// Ends the user's sessions. An access token issued before stays valid until it expires.
#[utoipa::path(delete, path = "/api/identity/user/{id}", tag = TAG, params(("id" = Uuid, Path)),
    security(("bearer" = [])), responses((status = 204, description = "The user has been deleted.")))]
async fn delete(
    State(app): State<App<Identity>>,
    manager: Permitted<ManageUsers>,
    PathId(id): PathId<UserId>,
) -> Answer<StatusCode> {
    if manager.user.id == id.0 {
        return Err(own_account());
    }
    let mut work = app.bus.begin().await?;
    let found = storage::find_for_update(&mut work, id).await?;
    let user = found.ok_or_else(no_such_user)?.deleted();
    storage::delete(&mut work, &user).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn no_such_user() -> Problem {
    Problem::not_found("The user does not exist.")
}

fn user_name_taken() -> Problem {
    Problem::conflict("user-name-taken", "The user name is taken")
        .with_detail("User names must be unique regardless of case.")
}

/// Keeps at least one administrator: administrators can't remove themselves.
fn own_account() -> Problem {
    Problem::conflict("own-account", "Not allowed for your own account")
        .with_detail("Another administrator must delete, deactivate or demote it.")
}
