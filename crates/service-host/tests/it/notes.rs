//! The service under test: notes with a title.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use event_bus::{DynamicHandler, EventBusBuilder, HandlerError, Received, UnitOfWork};
use serde::{Deserialize, Serialize};
use service_host::problem::{Answer, Problem};
use service_host::{
    App, Caller, Cursor, ETag, IfMatch, JsonBody, NoSettings, OnConstraint, Page, PageLimit,
    PathId, Permission, Permitted, QueryParams, Service, Violations,
};
use sqlx::migrate::Migrator;
use sqlx::{FromRow, query, query_as};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("tests/it/migrations");

/// What writing needs.
pub(crate) const MANAGE: &str = "notes.manage";

struct ManageNotes;

impl Permission for ManageNotes {
    const NAME: &'static str = MANAGE;
}

/// Keeps notes.
pub(crate) struct Notes;

/// Does nothing about what happens elsewhere.
struct Ignore;

impl DynamicHandler for Ignore {
    async fn handle(
        &self,
        _: Received<serde_json::Value>,
        _: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl Service for Notes {
    const NAME: &'static str = "notes";
    const ABOUT: &'static str = "Keeps notes.";
    const HTTP_PORT: u16 = 8099;
    type Settings = NoSettings;
    type State = ();

    fn migrator() -> &'static Migrator {
        &MIGRATOR
    }

    fn handlers(bus: EventBusBuilder, _settings: &NoSettings) -> EventBusBuilder {
        bus.handle_dynamic("library.#", Ignore)
    }

    fn routes() -> OpenApiRouter<App<Self>> {
        OpenApiRouter::new()
            .routes(routes!(list, create))
            .routes(routes!(get, rename))
            .routes(routes!(whoami))
            .routes(routes!(panics))
            .routes(routes!(hangs))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NoteBody {
    title: String,
    #[serde(default)]
    stars: u8,
}

#[derive(Debug, Serialize, FromRow, ToSchema)]
struct Note {
    id: Uuid,
    title: String,
    version: i64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ListParams {
    #[serde(default)]
    #[param(inline, required = false)]
    limit: PageLimit,
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<String>>,
}

fn valid(body: NoteBody) -> Answer<String> {
    let mut violations = Violations::new();
    if body.title.is_empty() {
        violations.add("/title", "must not be empty");
    }
    if body.stars > 5 {
        violations.add("/stars", "must be at most 5");
    }
    violations.finish()?;
    Ok(body.title)
}

fn title_taken() -> Problem {
    Problem::conflict("title-taken", "There is a note with that title")
}

#[utoipa::path(get, path = "/notes", params(ListParams), responses((status = 200, body = Page<Note>)))]
async fn list(
    State(app): State<App<Notes>>,
    QueryParams(params): QueryParams<ListParams>,
) -> Answer<Json<Page<Note>>> {
    let after = params.cursor.map(|Cursor(title)| title);
    let sql = "select id, title, version from notes
               where $1::text is null or title > $1 order by title limit $2";
    let notes = query_as::<_, Note>(sql)
        .bind(after)
        .bind(params.limit.rows())
        .fetch_all(&app.pool)
        .await?;
    Ok(Json(Page::from_rows(notes, params.limit, |note| {
        note.title.clone()
    })))
}

#[utoipa::path(post, path = "/notes", request_body = NoteBody, security(("bearer" = [])),
               responses((status = 201, body = Note)))]
async fn create(
    State(app): State<App<Notes>>,
    _writer: Permitted<ManageNotes>,
    JsonBody(body): JsonBody<NoteBody>,
) -> Answer<impl IntoResponse> {
    let note = Note {
        id: Uuid::now_v7(),
        title: valid(body)?,
        version: 1,
    };
    let mut work = app.bus.begin().await?;
    query("insert into notes (id, title) values ($1, $2)")
        .bind(note.id)
        .bind(&note.title)
        .execute(&mut *work)
        .await
        .on_constraint("notes_title_key", title_taken)?;
    work.commit().await?;
    let location = [(header::LOCATION, format!("/notes/{}", note.id))];
    Ok((
        StatusCode::CREATED,
        location,
        ETag(note.version),
        Json(note),
    ))
}

async fn find(app: &App<Notes>, id: Uuid) -> Answer<Note> {
    query_as::<_, Note>("select id, title, version from notes where id = $1")
        .bind(id)
        .fetch_optional(&app.pool)
        .await?
        .ok_or_else(|| Problem::not_found("There is no such note."))
}

#[utoipa::path(get, path = "/notes/{id}", params(("id" = Uuid, Path)),
               responses((status = 200, body = Note)))]
async fn get(State(app): State<App<Notes>>, PathId(id): PathId<Uuid>) -> Answer<impl IntoResponse> {
    let note = find(&app, id).await?;
    Ok((ETag(note.version), Json(note)))
}

#[utoipa::path(put, path = "/notes/{id}", params(("id" = Uuid, Path)), request_body = NoteBody,
               security(("bearer" = [])), responses((status = 204)))]
async fn rename(
    State(app): State<App<Notes>>,
    PathId(id): PathId<Uuid>,
    caller: Caller,
    if_match: IfMatch,
    JsonBody(body): JsonBody<NoteBody>,
) -> Answer<StatusCode> {
    caller.require(MANAGE)?;
    let title = valid(body)?;
    if_match.require(find(&app, id).await?.version)?;
    query("update notes set title = $2, version = version + 1 where id = $1")
        .bind(id)
        .bind(title)
        .execute(&app.pool)
        .await
        .on_constraint("notes_title_key", title_taken)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(get, path = "/whoami", responses((status = 200, body = String)))]
async fn whoami(caller: Caller) -> String {
    caller
        .user()
        .map_or_else(|| "a guest".to_owned(), |user| user.name.clone())
}

#[utoipa::path(get, path = "/panics", responses((status = 200)))]
async fn panics() -> StatusCode {
    panic!("the secret reason")
}

#[utoipa::path(get, path = "/hangs", responses((status = 200)))]
async fn hangs() -> StatusCode {
    std::future::pending().await
}
