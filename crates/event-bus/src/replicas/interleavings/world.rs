//! The owner, its replica, and what is between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use test_servers::TestDatabase;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Act;
use crate::replicas::live::Live;
use crate::replicas::page::{Answered, Step};
use crate::replicas::{Origin, ReplicaStore, storage};
use crate::{
    BatchHandler as _, EntityCreatedEto, EntityDeletedEto, EntityEto, EntityUpdatedEto, Envelope,
    EventBus, GetSnapshotPage, HandlerError, InMemory, Lineage, Message, Received, SnapshotPage,
    UnitOfWork,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    id: Uuid,
    version: i64,
}

impl EntityEto for Item {
    const CREATED: &'static str = "stock.item.created";
    const UPDATED: &'static str = "stock.item.updated";
    const DELETED: &'static str = "stock.item.deleted";
    const SNAPSHOT: &'static str = "stock.item.snapshot";

    fn entity_id(&self) -> Uuid {
        self.id
    }

    fn entity_version(&self) -> i64 {
        self.version
    }
}

/// The copies, and whether a reader has seen a step back.
#[derive(Default)]
struct Copies(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    present: BTreeMap<Uuid, i64>,
    seen: BTreeMap<Uuid, i64>,
    step_back: Option<String>,
}

impl ReplicaStore for Copies {
    type Eto = Item;
    const NAME: &'static str = "items";

    async fn keep(
        &self,
        _: &mut UnitOfWork,
        item: &Item,
        origin: Origin<'_>,
    ) -> Result<(), HandlerError> {
        let mut shelf = self.0.lock().expect("no panic before");
        let seen = shelf.seen.insert(item.id, item.version);
        // Of what is gone, the end was seen.
        if seen.is_some_and(|seen| seen > item.version) {
            shelf.step_back = Some(format!("{item:?} of {} after {seen:?}", origin.name()));
        }
        shelf.present.insert(item.id, item.version);
        Ok(())
    }

    async fn remove(
        &self,
        _: &mut UnitOfWork,
        id: Uuid,
        _: i64,
        _: Origin<'_>,
    ) -> Result<(), HandlerError> {
        let mut shelf = self.0.lock().expect("no panic before");
        shelf.present.remove(&id);
        shelf.seen.insert(id, i64::MAX);
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Told {
    Created(Item),
    Updated(Item),
    Deleted(Item),
}

impl Told {
    fn item(&self) -> &Item {
        match self {
            Self::Created(item) | Self::Updated(item) | Self::Deleted(item) => item,
        }
    }
}

pub(super) struct World {
    bus: EventBus,
    copies: Arc<Copies>,
    /// What the owner has: the version, and whether it is still there.
    items: BTreeMap<Uuid, (i64, bool)>,
    on_the_way: Vec<Told>,
    read: Option<Answered<Item>>,
    _shutdown: tokio_util::sync::DropGuard,
}

impl World {
    pub(super) async fn begin(database: &TestDatabase) -> Self {
        let pool = database.pool("shop").await;
        crate::migrate(&pool).await.expect("the bus's tables");
        sqlx::raw_sql("truncate replicas, replica_versions")
            .execute(&pool)
            .await
            .expect("nothing of the last world");
        let shutdown = CancellationToken::new();
        let bus = EventBus::builder("shop", pool, InMemory::new());
        Self {
            bus: bus.start(shutdown.clone()).await.expect("a bus"),
            copies: Arc::default(),
            items: BTreeMap::new(),
            on_the_way: Vec::new(),
            read: None,
            _shutdown: shutdown.drop_guard(),
        }
    }

    pub(super) async fn take(&mut self, act: Act) {
        match act {
            Act::Change { item, silently } => self.change(Uuid::from_u128(item + 1), silently),
            Act::Delete {
                item,
                silently,
                counts,
            } => self.delete(Uuid::from_u128(item + 1), silently, counts),
            Act::Deliver { which, again } if !self.on_the_way.is_empty() => {
                let which = which.index(self.on_the_way.len());
                let told = self.on_the_way[which].clone();
                if !again {
                    self.on_the_way.remove(which);
                }
                self.hear(told).await;
            }
            Act::Deliver { .. } => {}
            Act::Read { most } => self.read(most).await,
            Act::Apply => _ = self.apply().await,
            Act::Refill => self.refill().await,
        }
    }

    fn change(&mut self, id: Uuid, silently: bool) {
        let told = match self.items.get_mut(&id) {
            None => {
                self.items.insert(id, (1, true));
                Told::Created(Item { id, version: 1 })
            }
            Some((version, true)) => {
                *version += 1;
                let version = *version;
                Told::Updated(Item { id, version })
            }
            // Ids are used once.
            Some((_, false)) => return,
        };
        self.tell(told, silently);
    }

    fn delete(&mut self, id: Uuid, silently: bool, counts: bool) {
        if let Some((version, is_there @ true)) = self.items.get_mut(&id) {
            *version += i64::from(counts);
            *is_there = false;
            let version = *version;
            self.tell(Told::Deleted(Item { id, version }), silently);
        }
    }

    /// What nobody is told of is as an event in a queue that was lost, with all before it.
    fn tell(&mut self, told: Told, silently: bool) {
        if silently {
            let id = told.item().id;
            self.on_the_way.retain(|told| told.item().id != id);
        } else {
            self.on_the_way.push(told);
        }
    }

    async fn hear(&self, told: Told) {
        let mut work = self.bus.begin().await.expect("a unit of work");
        let live = Live(self.copies.clone());
        let heard = match told {
            Told::Created(entity) => {
                let created = received(EntityCreatedEto { entity });
                live.handle(created, &mut work).await
            }
            Told::Updated(entity) => {
                let updated = received(EntityUpdatedEto { entity });
                live.handle(updated, &mut work).await
            }
            Told::Deleted(entity) => {
                let deleted = received(EntityDeletedEto { entity });
                live.handle(deleted, &mut work).await
            }
        };
        heard.expect("it is handled");
        work.commit().await.expect("it is committed");
    }

    async fn read(&mut self, most: usize) {
        let progress = crate::sessions::run!(&self.bus.pool, |connection| storage::progress(
            connection,
            Copies::NAME
        ));
        let progress = progress.expect("how far it is");
        if progress.is_filled {
            return;
        }
        let behind = self
            .items
            .iter()
            .filter(|(id, _)| Some(**id) > progress.cursor);
        let mut entities: Vec<_> = behind
            .filter(|(_, (_, is_there))| *is_there)
            .map(|(id, (version, _))| Item {
                id: *id,
                version: *version,
            })
            .collect();
        let is_last = entities.len() <= most;
        entities.truncate(most);
        let next = entities.last().filter(|_| !is_last).map(|item| item.id);
        self.read = Some(Answered {
            query: envelope(&GetSnapshotPage::<Item>::after(progress.cursor)),
            page: SnapshotPage {
                version: 1,
                entities,
                next,
            },
            progress,
        });
    }

    /// Says whether the replica is complete now.
    async fn apply(&mut self) -> bool {
        let Some(read) = self.read.take() else {
            return false;
        };
        read.check().expect("a page");
        let copies = &*self.copies;
        let mut step = read.apply(copies, &self.bus).await.expect("it is applied");
        while read.page.next.is_none() && step == Step::More {
            step = read
                .finish(copies, &self.bus)
                .await
                .expect("it is finished");
        }
        step == Step::Complete
    }

    async fn refill(&self) {
        self.bus.refill::<Copies>().await.expect("it is wanted");
    }

    /// Fills it once more, lets everything arrive, in any order, and compares.
    pub(super) async fn end(mut self, first_the_events: bool) {
        self.refill().await;
        if first_the_events {
            self.hear_all().await;
        }
        self.read(2).await;
        while !self.apply().await {
            self.read(2).await;
        }
        self.hear_all().await;
        let shelf = self.copies.0.lock().expect("no panic before");
        assert_eq!(shelf.step_back, None);
        let expected = self.items.iter().filter(|(_, (_, is_there))| *is_there);
        let expected: BTreeMap<_, _> = expected.map(|(id, (v, _))| (*id, *v)).collect();
        assert_eq!(shelf.present, expected);
    }

    async fn hear_all(&mut self) {
        for told in std::mem::take(&mut self.on_the_way).into_iter().rev() {
            self.hear(told).await;
        }
    }
}

fn envelope<M: Message>(message: &M) -> Envelope {
    Envelope::encode("stock", Lineage::begin(), message).expect("it is JSON")
}

fn received<M: Message>(message: M) -> Vec<Received<M>> {
    let envelope = Arc::new(envelope(&message));
    vec![Received::new(message, envelope, 1)]
}
