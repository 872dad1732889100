//! Catalog's automatic events keep the replica.

use event_bus::{
    EntityCreatedEto, EntityDeletedEto, EntityUpdatedEto, Handler, HandlerError, Received,
    UnitOfWork,
};
use event_contracts::catalog::ProductEto;

use super::{Product, storage};

/// Keeps the replica of products.
#[derive(Debug)]
pub(crate) struct ProductReplica;

impl ProductReplica {
    async fn keep(
        eto: &ProductEto,
        deleted: bool,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        // A price that is none will be none the next time, too.
        let product = Product::from_eto(eto, deleted).map_err(HandlerError::reject)?;
        Ok(storage::keep(work, &product).await?)
    }
}

impl Handler<EntityCreatedEto<ProductEto>> for ProductReplica {
    async fn handle(
        &self,
        created: Received<EntityCreatedEto<ProductEto>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        Self::keep(&created.entity, false, work).await
    }
}

impl Handler<EntityUpdatedEto<ProductEto>> for ProductReplica {
    async fn handle(
        &self,
        updated: Received<EntityUpdatedEto<ProductEto>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        Self::keep(&updated.entity, false, work).await
    }
}

impl Handler<EntityDeletedEto<ProductEto>> for ProductReplica {
    async fn handle(
        &self,
        deleted: Received<EntityDeletedEto<ProductEto>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        Self::keep(&deleted.entity, true, work).await
    }
}
