//! Repositories that publish automatic events.

use std::fmt;
use std::marker::PhantomData;

use sqlx::PgConnection;

use crate::entity::{EntityCreatedEto, EntityDeletedEto, EntityEto, EntityUpdatedEto};
use crate::envelope::PublishError;
use crate::unit_of_work::UnitOfWork;

/// The SQL of one entity, and its picture for others.
///
/// Keep the implementing type private to its module and hand out the [`Repository`] over it: then
/// no code can change the entity without the event.
pub trait EntityStore: Send + Sync + 'static {
    /// The entity as its service sees it.
    type Entity: Send + Sync;
    /// The entity as everybody else sees it.
    type Eto: EntityEto;

    /// The entity's picture for others.
    fn eto(entity: &Self::Entity) -> Self::Eto;

    /// Inserts the entity.
    fn insert(
        connection: &mut PgConnection,
        entity: &Self::Entity,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Writes the changed entity over the stored one.
    fn update(
        connection: &mut PgConnection,
        entity: &Self::Entity,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Deletes the entity.
    fn delete(
        connection: &mut PgConnection,
        entity: &Self::Entity,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Creates, updates and deletes entities, and publishes what it did in the same unit of work.
pub struct Repository<S>(PhantomData<fn() -> S>);

impl<S: EntityStore> Repository<S> {
    /// A repository over the given store.
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Inserts the entity and publishes [`EntityCreatedEto`].
    ///
    /// # Errors
    ///
    /// If the database refuses the entity or the event can't be encoded.
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe: if its future is dropped, the statement may have been
    /// executed without the event. Do not commit the unit of work then.
    pub async fn insert(
        &self,
        work: &mut UnitOfWork,
        entity: &S::Entity,
    ) -> Result<(), RepositoryError> {
        S::insert(work, entity).await?;
        let entity = S::eto(entity);
        Ok(work.publish(&EntityCreatedEto { entity })?)
    }

    /// Writes the changed entity and publishes [`EntityUpdatedEto`].
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe: if its future is dropped, the statement may have been
    /// executed without the event. Do not commit the unit of work then.
    pub async fn update(
        &self,
        work: &mut UnitOfWork,
        entity: &S::Entity,
    ) -> Result<(), RepositoryError> {
        S::update(work, entity).await?;
        let entity = S::eto(entity);
        Ok(work.publish(&EntityUpdatedEto { entity })?)
    }

    /// Deletes the entity and publishes [`EntityDeletedEto`].
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe: if its future is dropped, the statement may have been
    /// executed without the event. Do not commit the unit of work then.
    pub async fn delete(
        &self,
        work: &mut UnitOfWork,
        entity: &S::Entity,
    ) -> Result<(), RepositoryError> {
        S::delete(work, entity).await?;
        let entity = S::eto(entity);
        Ok(work.publish(&EntityDeletedEto { entity })?)
    }
}

impl<S: EntityStore> Default for Repository<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Repository<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository<{}>", std::any::type_name::<S>())
    }
}

/// Why a repository could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The database refused.
    #[error("the entity could not be written")]
    Database(#[from] sqlx::Error),
    /// The event could not be encoded.
    #[error("the entity's event could not be published")]
    Publish(#[from] PublishError),
}
