//! A page of the owner's entities, applied.

use std::collections::HashSet;

use uuid::Uuid;

use super::filler::FillError;
use super::storage::{self, Progress, Writer};
use super::store::{Origin, ReplicaStore};
use crate::bus::EventBus;
use crate::entity::EntityEto;
use crate::envelope::Envelope;
use crate::handler::HandlerError;
use crate::snapshot::SnapshotPage;
use crate::unit_of_work::UnitOfWork;

/// How many entities that are gone are removed in one transaction.
const REMOVED_AT_ONCE: i64 = 500;

/// A page, the query it answers, and where the replica was when it asked.
pub(super) struct Answered<T> {
    pub(super) query: Envelope,
    pub(super) page: SnapshotPage<T>,
    pub(super) progress: Progress,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to do.
    More,
    /// The replica is complete.
    Complete,
    /// Somebody else has gone on, or it is to be filled anew.
    Overtaken,
}

/// Why one try to apply a page came to nothing.
enum Setback {
    /// The store or its database will never take this entity.
    Rejected(Uuid, HandlerError),
    Failed(FillError),
}

impl<E: Into<FillError>> From<E> for Setback {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<T: EntityEto> Answered<T> {
    /// Looks whether the page is one that can be applied.
    pub(super) fn check(&self) -> Result<(), FillError> {
        let SnapshotPage {
            version,
            entities,
            next,
        } = &self.page;
        if *version > T::VERSION {
            return Err(FillError::Page(format!(
                "its entities have the version {version}, and {} is the newest known here",
                T::VERSION
            )));
        }
        let mut last = self.progress.cursor;
        for entity in entities {
            let id = Some(entity.entity_id());
            if id <= last {
                return Err(FillError::Page("its entities are in no order".to_owned()));
            }
            last = id;
        }
        match next {
            // Whoever goes on from where it was would never come to an end.
            Some(_) if *next < last || *next <= self.progress.cursor => Err(FillError::Page(
                "it names a next page that is none".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Keeps what is news and moves the cursor, in one transaction. What the store rejects is left
    /// out: there are no dead letters for what nobody sent.
    pub(super) async fn apply<S>(&self, store: &S, bus: &EventBus) -> Result<Step, FillError>
    where
        S: ReplicaStore<Eto = T>,
    {
        let mut rejected = HashSet::new();
        loop {
            match self.apply_without(&rejected, store, bus).await {
                Ok(step) => return Ok(step),
                Err(Setback::Failed(error)) => return Err(error),
                Err(Setback::Rejected(entity, error)) => {
                    tracing::error!(
                        replica = S::NAME,
                        %entity,
                        error = error.reasons().join(": "),
                        "the replica rejects an entity, and goes on without it"
                    );
                    rejected.insert(entity);
                }
            }
        }
    }

    async fn apply_without<S>(
        &self,
        rejected: &HashSet<Uuid>,
        store: &S,
        bus: &EventBus,
    ) -> Result<Step, Setback>
    where
        S: ReplicaStore<Eto = T>,
    {
        let fill = self.progress.fill;
        let Some(mut work) = self.begin::<S>(bus).await? else {
            return Ok(Step::Overtaken);
        };
        let present: Vec<_> = self.page.entities.iter().map(T::entity_id).collect();
        let wanted = self.page.entities.iter();
        let wanted = wanted.filter(|entity| !rejected.contains(&entity.entity_id()));
        let (ids, versions): (Vec<_>, Vec<_>) = wanted
            .clone()
            .map(|entity| (entity.entity_id(), entity.entity_version()))
            .unzip();
        let news = storage::note_page(&mut work, S::NAME, fill, &ids, &versions).await?;
        let news: HashSet<_> = news.into_iter().collect();
        for entity in wanted.filter(|entity| news.contains(&entity.entity_id())) {
            let kept = store.keep(&mut work, entity, Origin(&self.query)).await;
            kept.map_err(|error| {
                if error.is_final() {
                    Setback::Rejected(entity.entity_id(), error)
                } else {
                    Setback::Failed(FillError::Store(error))
                }
            })?;
        }
        storage::note_presence(&mut work, S::NAME, fill, &present).await?;
        work.commit().await?;
        Ok(Step::More)
    }

    /// Takes the turn and moves the cursor, or finds that somebody else has.
    async fn begin<S: ReplicaStore>(
        &self,
        bus: &EventBus,
    ) -> Result<Option<UnitOfWork>, FillError> {
        let mut work = bus.begin().await?;
        work.inherit(self.query.lineage_of_effects());
        storage::take_turn(&mut work, S::NAME, Writer::Page).await?;
        // After the last page there is nothing to move for, and the cursor stays where it is.
        let next = self.page.next.or(self.progress.cursor);
        let advanced = storage::advance(&mut work, S::NAME, self.progress, next).await?;
        Ok(advanced.then_some(work))
    }

    /// After the last page: removes some of what no page has shown. When nothing of that is left,
    /// the replica is complete.
    pub(super) async fn finish<S>(&self, store: &S, bus: &EventBus) -> Result<Step, FillError>
    where
        S: ReplicaStore<Eto = T>,
    {
        let Some(mut work) = self.begin::<S>(bus).await? else {
            return Ok(Step::Overtaken);
        };
        let fill = self.progress.fill;
        let ended = storage::end_some(&mut work, S::NAME, fill, REMOVED_AT_ONCE).await?;
        for (id, version) in &ended {
            let removed = store.remove(&mut work, *id, *version, Origin(&self.query));
            removed.await.map_err(FillError::Store)?;
        }
        let step = if ended.is_empty() {
            storage::complete(&mut work, S::NAME, fill).await?;
            Step::Complete
        } else {
            Step::More
        };
        work.commit().await?;
        Ok(step)
    }
}
