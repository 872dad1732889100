//! The owner's side: pages of what there is.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::entity::EntityEto;
use crate::envelope::MAX_BODY_BYTES;
use crate::handler::short_type_name;
use crate::queries::{RespondError, Responder};
use crate::received::Received;
use crate::repository::EntityStore;
use crate::sessions;
use crate::snapshot::{GetSnapshotPage, SnapshotPage};

/// How many entities are read at once: few, since each may be as large as a message.
const READ: usize = 50;
/// The most entities of a page.
const MOST_ENTITIES: usize = 500;
/// The size at which a page is full, in bytes. One entity may be larger, and is a page by itself.
const FULL: usize = MAX_BODY_BYTES / 4;

/// An entity store that can show all there is, so that replicas can be filled.
///
/// A page is an answer of at most [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES), so an entity that is
/// within a hundred bytes of it as JSON can be told of by events and not be shown.
pub trait SnapshotSource: EntityStore {
    /// The first `limit` entities, by ascending id, whose id is greater than `after`; from the
    /// first one on if that is `None`.
    fn page(
        connection: &mut PgConnection,
        after: Option<Uuid>,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Self::Entity>, sqlx::Error>> + Send;
}

/// Answers with pages from a store.
pub(crate) struct Snapshots<S> {
    pool: PgPool,
    of: PhantomData<fn() -> S>,
}

impl<S: SnapshotSource> Snapshots<S> {
    pub(crate) fn new(pool: PgPool) -> Self {
        let of = PhantomData;
        Self { pool, of }
    }

    /// Each read sees all that was committed before it, which is what the replica relies on.
    async fn read(&self, after: Option<Uuid>) -> Result<SnapshotPage<S::Eto>, RespondError<()>> {
        sessions::run!(&self.pool, |connection| Self::read_on(connection, after))
            .map_err(RespondError::from)
    }

    async fn read_on(
        connection: &mut PgConnection,
        after: Option<Uuid>,
    ) -> Result<SnapshotPage<S::Eto>, sqlx::Error> {
        let mut page = SnapshotPage {
            version: S::Eto::VERSION,
            entities: Vec::new(),
            next: None,
        };
        let (mut last, mut bytes) = (after, 0);
        while page.entities.len() < MOST_ENTITIES {
            let entities = S::page(connection, last, READ as i64).await?;
            let is_last = entities.len() < READ;
            for entity in &entities {
                let eto = S::eto(entity);
                bytes += serde_json::to_vec(&eto)
                    .map_err(|error| sqlx::Error::Encode(error.into()))?
                    .len();
                if bytes > FULL && !page.entities.is_empty() {
                    page.next = last;
                    return Ok(page);
                }
                last = Some(eto.entity_id());
                page.entities.push(eto);
            }
            if is_last {
                return Ok(page);
            }
        }
        page.next = last;
        Ok(page)
    }
}

impl<S: SnapshotSource> Responder<GetSnapshotPage<S::Eto>> for Snapshots<S> {
    async fn respond(
        &self,
        query: Received<GetSnapshotPage<S::Eto>>,
    ) -> Result<SnapshotPage<S::Eto>, RespondError<()>> {
        self.read(query.after).await
    }

    fn name(&self) -> &'static str {
        short_type_name::<S>()
    }
}

impl<S> fmt::Debug for Snapshots<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshots<{}>", type_name::<S>())
    }
}
