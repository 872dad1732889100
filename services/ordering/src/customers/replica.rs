//! The replica of customers, and the names on orders: filled from identity's snapshot, kept by its
//! automatic events.

use event_bus::{EntityEto as _, HandlerError, Origin, ReplicaStore, UnitOfWork};
use event_contracts::identity::UserEto;
use uuid::Uuid;

use super::storage;
use crate::ids::CustomerId;
use crate::orders::{self, Cause, CustomerName};

/// Keeps the replica of customers. What a customer is called now stands on their open orders; once
/// they are deleted, their name stands on none.
#[derive(Debug)]
pub(crate) struct CustomerReplica;

impl ReplicaStore for CustomerReplica {
    type Eto = UserEto;
    const NAME: &'static str = "customers";

    async fn keep(
        &self,
        work: &mut UnitOfWork,
        user: &UserEto,
        origin: Origin<'_>,
    ) -> Result<(), HandlerError> {
        let id = CustomerId(user.id);
        let name = CustomerName::fitting(&user.display_name());
        // That somebody is called so is no news of them, if nothing was known before.
        let is_new_name = origin.name() != UserEto::SNAPSHOT || storage::knows(work, id).await?;
        if storage::keep(work, id, Some(&name), user.version).await? && is_new_name {
            orders::rename_open(work, id, &name, &Cause::from(origin)).await?;
        }
        Ok(())
    }

    async fn remove(
        &self,
        work: &mut UnitOfWork,
        id: Uuid,
        version: i64,
        origin: Origin<'_>,
    ) -> Result<(), HandlerError> {
        let id = CustomerId(id);
        if storage::keep(work, id, None, version).await? {
            orders::remove_name(work, id, &Cause::from(origin)).await?;
        }
        Ok(())
    }
}
