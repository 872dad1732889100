//! Events keep the replica.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::storage::{self, Writer};
use super::store::{Origin, ReplicaStore};
use crate::consumer_group::ConsumerGroup;
use crate::entity::{EntityCreatedEto, EntityDeletedEto, EntityEto as _, EntityUpdatedEto};
use crate::handler::{BatchHandler, HandlerError};
use crate::received::Received;
use crate::unit_of_work::UnitOfWork;

/// The handlers of an entity's events, for a replica.
pub(super) struct Live<S>(pub(super) Arc<S>);

/// The group in which a replica hears of its entities, so that its pace is its own.
///
/// It needs no order: versions decide. It works on one batch at a time, since two of them would
/// often be after the same rows.
pub(super) fn group<S: ReplicaStore>(store: &Arc<S>) -> ConsumerGroup {
    let live = || Live(store.clone());
    ConsumerGroup::new(S::NAME)
        .handle_batch::<EntityCreatedEto<S::Eto>, _>(live())
        .handle_batch::<EntityUpdatedEto<S::Eto>, _>(live())
        .handle_batch::<EntityDeletedEto<S::Eto>, _>(live())
        .concurrency(1)
}

impl<S: ReplicaStore> Live<S> {
    /// Of each entity, what is newest among these messages, if it is news.
    async fn news<M>(
        &self,
        messages: Vec<Received<M>>,
        entity: impl Fn(&M) -> &S::Eto,
        deleted: bool,
        work: &mut UnitOfWork,
    ) -> Result<Vec<Received<M>>, HandlerError> {
        let mut newest = BTreeMap::new();
        for message in messages {
            let told = entity(&message);
            let (id, version) = (told.entity_id(), told.entity_version());
            match newest.get(&id) {
                Some((known, _)) if *known >= version => {}
                _ => _ = newest.insert(id, (version, message)),
            }
        }
        let ids: Vec<_> = newest.keys().copied().collect();
        let versions: Vec<_> = newest.values().map(|(version, _)| *version).collect();
        storage::take_turn(work, S::NAME, Writer::Events).await?;
        let mut news = storage::note_events(work, S::NAME, &ids, &versions, deleted).await?;
        news.sort_unstable();
        let newest = newest.into_iter();
        let news = newest.filter(|(id, _)| news.binary_search(id).is_ok());
        Ok(news.map(|(_, (_, message))| message).collect())
    }

    async fn keep<M>(
        &self,
        messages: Vec<Received<M>>,
        entity: impl Fn(&M) -> &S::Eto,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        for message in self.news(messages, &entity, false, work).await? {
            work.caused_by(&message);
            let origin = Origin(message.envelope());
            self.0.keep(work, entity(&message), origin).await?;
        }
        Ok(())
    }
}

impl<S: ReplicaStore> BatchHandler<EntityCreatedEto<S::Eto>> for Live<S> {
    async fn handle(
        &self,
        created: Vec<Received<EntityCreatedEto<S::Eto>>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.keep(created, |created| &created.entity, work).await
    }

    fn name(&self) -> &'static str {
        S::NAME
    }
}

impl<S: ReplicaStore> BatchHandler<EntityUpdatedEto<S::Eto>> for Live<S> {
    async fn handle(
        &self,
        updated: Vec<Received<EntityUpdatedEto<S::Eto>>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.keep(updated, |updated| &updated.entity, work).await
    }

    fn name(&self) -> &'static str {
        S::NAME
    }
}

impl<S: ReplicaStore> BatchHandler<EntityDeletedEto<S::Eto>> for Live<S> {
    async fn handle(
        &self,
        deleted: Vec<Received<EntityDeletedEto<S::Eto>>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let news = self.news(deleted, |deleted| &deleted.entity, true, work);
        for message in news.await? {
            work.caused_by(&message);
            let (id, version) = (message.entity.entity_id(), message.entity.entity_version());
            let origin = Origin(message.envelope());
            self.0.remove(work, id, version, origin).await?;
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        S::NAME
    }
}
