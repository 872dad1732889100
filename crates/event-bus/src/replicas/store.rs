//! What users write to keep a replica.

use uuid::Uuid;

use crate::entity::EntityEto;
use crate::envelope::Envelope;
use crate::handler::HandlerError;
use crate::unit_of_work::UnitOfWork;

/// A copy of another service's entities: where it is stored, and nothing more.
///
/// The bus asks the owner for all entities when the replica is there for the first time, hears of
/// changes from then on, compares versions, and calls this for what is news. Readers see each
/// entity's versions only rise. Everything done through `work` is committed together with the
/// version.
///
/// The same entity in the same version may be kept more than once, so keeping is "write it over
/// what is there".
///
/// ```
/// use event_bus::{EntityEto, HandlerError, Origin, ReplicaStore, UnitOfWork};
/// # use serde::{Deserialize, Serialize};
/// use uuid::Uuid;
///
/// # #[derive(Clone, Serialize, Deserialize)]
/// # struct ProductEto { id: Uuid, name: String, version: i64 }
/// # impl EntityEto for ProductEto {
/// #     const CREATED: &'static str = "catalog.product.created";
/// #     const UPDATED: &'static str = "catalog.product.updated";
/// #     const DELETED: &'static str = "catalog.product.deleted";
/// #     const SNAPSHOT: &'static str = "catalog.product.snapshot";
/// #     fn entity_id(&self) -> Uuid { self.id }
/// #     fn entity_version(&self) -> i64 { self.version }
/// # }
/// struct ProductNames;
///
/// impl ReplicaStore for ProductNames {
///     type Eto = ProductEto;
///     const NAME: &'static str = "product-names";
///
///     async fn keep(
///         &self,
///         work: &mut UnitOfWork,
///         product: &ProductEto,
///         _: Origin<'_>,
///     ) -> Result<(), HandlerError> {
///         let keep = "insert into product_names (id, name) values ($1, $2)
///                     on conflict (id) do update set name = excluded.name";
///         sqlx::query(keep)
///             .bind(product.id)
///             .bind(&product.name)
///             .execute(&mut **work)
///             .await?;
///         Ok(())
///     }
///
///     async fn remove(
///         &self,
///         work: &mut UnitOfWork,
///         id: Uuid,
///         _version: i64,
///         _: Origin<'_>,
///     ) -> Result<(), HandlerError> {
///         sqlx::query("delete from product_names where id = $1")
///             .bind(id)
///             .execute(&mut **work)
///             .await?;
///         Ok(())
///     }
/// }
/// ```
pub trait ReplicaStore: Send + Sync + 'static {
    /// The entity, as its owner shows it.
    type Eto: EntityEto;

    /// Names the replica within its service; its queue is `<service>.<name>`. 1 to 100 letters,
    /// digits, `-` and `_`. Under another name it is another replica, and filled from scratch.
    const NAME: &'static str;

    /// Keeps the entity as it is now, over what may be there.
    ///
    /// # Errors
    ///
    /// As for a [`Handler`](crate::Handler). An entity of a snapshot that is
    /// [rejected](HandlerError::reject) is logged and left out.
    fn keep(
        &self,
        work: &mut UnitOfWork,
        entity: &Self::Eto,
        origin: Origin<'_>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Removes an entity, which may never have been kept. `version` is the last one heard of.
    ///
    /// # Errors
    ///
    /// As for a [`Handler`](crate::Handler).
    fn remove(
        &self,
        work: &mut UnitOfWork,
        id: Uuid,
        version: i64,
        origin: Origin<'_>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// The message that a replica's news came by: one of the entity's events, or the query that was
/// answered with a page.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a>(pub(super) &'a Envelope);

impl<'a> Origin<'a> {
    /// The message's id.
    pub fn id(self) -> Uuid {
        self.0.id
    }

    /// The name it travelled under.
    pub fn name(self) -> &'a str {
        &self.0.name
    }

    /// The trace it belongs to, 32 hexadecimal digits.
    pub fn trace_id(self) -> Option<&'a str> {
        self.0.trace.trace_id()
    }
}
