//! Identity's automatic events keep the replica, and the names on orders.

use event_bus::{
    EntityCreatedEto, EntityDeletedEto, EntityUpdatedEto, Handler, HandlerError, Message, Received,
    UnitOfWork,
};
use event_contracts::identity::UserEto;

use super::storage;
use crate::ids::CustomerId;
use crate::orders::{self, Cause, CustomerName};

/// Keeps the replica of customers. What a customer is called now stands on their open orders; once
/// they are deleted, their name stands on none.
#[derive(Debug)]
pub(crate) struct CustomerReplica;

impl CustomerReplica {
    async fn keep<M: Message>(
        message: &Received<M>,
        user: &UserEto,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let id = CustomerId(user.id);
        let name = CustomerName::fitting(&user.display_name());
        if storage::keep(work, id, Some(&name), user.version).await? {
            orders::rename_open(work, id, &name, &Cause::from(message)).await?;
        }
        Ok(())
    }
}

impl Handler<EntityCreatedEto<UserEto>> for CustomerReplica {
    async fn handle(
        &self,
        created: Received<EntityCreatedEto<UserEto>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        Self::keep(&created, &created.entity, work).await
    }
}

impl Handler<EntityUpdatedEto<UserEto>> for CustomerReplica {
    async fn handle(
        &self,
        updated: Received<EntityUpdatedEto<UserEto>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        Self::keep(&updated, &updated.entity, work).await
    }
}

impl Handler<EntityDeletedEto<UserEto>> for CustomerReplica {
    async fn handle(
        &self,
        deleted: Received<EntityDeletedEto<UserEto>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let id = CustomerId(deleted.entity.id);
        if storage::keep(work, id, None, deleted.entity.version).await? {
            orders::remove_name(work, id, &Cause::from(&deleted)).await?;
        }
        Ok(())
    }
}
