//! The replica of products: filled from catalog's snapshot, kept by its automatic events.

use event_bus::{HandlerError, Origin, ReplicaStore, UnitOfWork};
use event_contracts::catalog::ProductEto;
use uuid::Uuid;

use super::{Product, storage};
use crate::ids::ProductId;

/// Keeps the replica of products.
#[derive(Debug)]
pub(crate) struct ProductReplica;

impl ReplicaStore for ProductReplica {
    type Eto = ProductEto;
    const NAME: &'static str = "products";

    async fn keep(
        &self,
        work: &mut UnitOfWork,
        eto: &ProductEto,
        _: Origin<'_>,
    ) -> Result<(), HandlerError> {
        // A price that is none will be none the next time, too.
        let product = Product::from_eto(eto).map_err(HandlerError::reject)?;
        Ok(storage::keep(work, &product).await?)
    }

    async fn remove(
        &self,
        work: &mut UnitOfWork,
        id: Uuid,
        version: i64,
        _: Origin<'_>,
    ) -> Result<(), HandlerError> {
        Ok(storage::remove(work, ProductId(id), version).await?)
    }
}
