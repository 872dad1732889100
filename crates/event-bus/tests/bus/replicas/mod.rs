//! Replicas: filled by asking, kept by events, without a gap and without a step back.

mod ending;
mod filling;
mod instances;
mod owners;
mod racing;

use std::sync::Arc;
use std::sync::Mutex;

use event_bus::{
    EntityEto, EntityStore, EventBusBuilder, HandlerError, Origin, ReplicaStore, Repository,
    SnapshotSource, UnitOfWork,
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool, Row};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::support::{BOUND, Ground, Running};

/// A picture of an item, and the item itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct Item {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) version: i64,
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

/// The owner's table.
pub(crate) struct Items;

pub(crate) const ITEMS: Repository<Items> = Repository::new();

impl EntityStore for Items {
    type Entity = Item;
    type Eto = Item;

    fn eto(item: &Item) -> Item {
        item.clone()
    }

    async fn insert(connection: &mut PgConnection, item: &Item) -> Result<(), sqlx::Error> {
        write("insert into items values ($1, $2, $3)", connection, item).await
    }

    async fn update(connection: &mut PgConnection, item: &Item) -> Result<(), sqlx::Error> {
        let update = "update items set name = $2, version = $3 where id = $1";
        write(update, connection, item).await
    }

    async fn delete(connection: &mut PgConnection, item: &Item) -> Result<(), sqlx::Error> {
        sqlx::query("delete from items where id = $1")
            .bind(item.id)
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl SnapshotSource for Items {
    async fn page(
        connection: &mut PgConnection,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Item>, sqlx::Error> {
        let page = "select id, name, version from items
                    where $1::uuid is null or id > $1 order by id limit $2";
        sqlx::query_as(page)
            .bind(after)
            .bind(limit)
            .fetch_all(connection)
            .await
    }
}

async fn write(
    sql: &'static str,
    connection: &mut PgConnection,
    item: &Item,
) -> Result<(), sqlx::Error> {
    sqlx::query(sql)
        .bind(item.id)
        .bind(&item.name)
        .bind(item.version)
        .execute(connection)
        .await?;
    Ok(())
}

/// The replica: it compares no versions, and notes each change in a history.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    /// The queries whose answers brought something, one entry for each entity.
    shown: Arc<Mutex<Vec<Uuid>>>,
    /// How many entities of pages it takes until it is stuck.
    room: Arc<Semaphore>,
}

impl Copies {
    pub(crate) fn new() -> Self {
        Self {
            shown: Arc::default(),
            room: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    /// The same, stuck after so many entities of pages.
    fn stuck_after(entities: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(entities)),
            ..Self::new()
        }
    }

    /// How many entities pages have brought.
    fn shown(&self) -> usize {
        self.shown.lock().expect("no panic before").len()
    }

    /// How many pages have brought something.
    fn pages(&self) -> usize {
        let mut pages = self.shown.lock().expect("no panic before").clone();
        pages.sort_unstable();
        pages.dedup();
        pages.len()
    }
}

impl ReplicaStore for Copies {
    type Eto = Item;
    const NAME: &'static str = "items";

    async fn keep(
        &self,
        work: &mut UnitOfWork,
        item: &Item,
        origin: Origin<'_>,
    ) -> Result<(), HandlerError> {
        if item.name == "impossible" {
            return Err(HandlerError::reject("an impossible item"));
        }
        if item.name == "unstorable" {
            sqlx::query("select $1")
                .bind("\0")
                .execute(&mut **work)
                .await?;
        }
        if origin.name() == Item::SNAPSHOT {
            self.room.acquire().await?.forget();
            self.shown
                .lock()
                .expect("no panic before")
                .push(origin.id());
        }
        let keep = "insert into copies values ($1, $2, $3)
                    on conflict (id) do update set name = excluded.name, version = excluded.version";
        Ok(write(keep, work, item).await?)
    }

    async fn remove(
        &self,
        work: &mut UnitOfWork,
        id: Uuid,
        _version: i64,
        _: Origin<'_>,
    ) -> Result<(), HandlerError> {
        sqlx::query("delete from copies where id = $1")
            .bind(id)
            .execute(&mut **work)
            .await?;
        Ok(())
    }
}

/// The owner is `stock`, and the replica is `shop`'s.
pub(crate) struct Warehouse<'a> {
    ground: &'a Ground,
    stock: PgPool,
    shop: PgPool,
}

impl<'a> Warehouse<'a> {
    pub(crate) async fn on(ground: &'a Ground) -> Self {
        let stock = ground.database.pool("stock").await;
        let shop = ground.database.pool("shop").await;
        for (pool, tables) in [
            (
                &stock,
                "create table items (id uuid primary key, name text not null, version bigint not null)",
            ),
            (
                &shop,
                "create table copies (id uuid primary key, name text not null, version bigint not null);
                 create table history (
                     position bigint generated always as identity, id uuid, version bigint);
                 create function note() returns trigger language plpgsql as $$
                 begin
                     -- A removal has no version.
                     insert into history (id, version) values (coalesce(new.id, old.id), new.version);
                     return null;
                 end $$;
                 create trigger noted after insert or update or delete on copies
                     for each row execute function note()",
            ),
        ] {
            sqlx::raw_sql(tables).execute(pool).await.expect("tables");
        }
        Self {
            ground,
            stock,
            shop,
        }
    }

    /// Items whose events are long gone: nobody was told.
    pub(crate) async fn had(&self, items: i32) {
        sqlx::query(
            "insert into items
             select gen_random_uuid(), 'item ' || n, 1 + n % 5 from generate_series(1, $1) n",
        )
        .bind(items)
        .execute(&self.stock)
        .await
        .expect("items");
    }

    pub(crate) async fn owner(&self) -> EventBusBuilder {
        let stock = self.ground.participant("stock").await;
        stock.serve_snapshots::<Items>()
    }

    async fn open(&self) -> Running {
        Running::start(self.owner().await).await
    }

    async fn keep(&self, copies: &Copies) -> Running {
        self.keep_on(copies, self.ground.database.pool("shop").await)
            .await
    }

    async fn keep_on(&self, copies: &Copies, pool: PgPool) -> Running {
        let shop = self.ground.participant_on("shop", pool);
        Running::start(shop.replica(copies.clone())).await
    }

    pub(crate) async fn is_filled(&self, shop: &Running) {
        test_servers::eventually("the replica is filled", BOUND, async || {
            let filled = shop.bus.replica_filled::<Copies>().await.ok()?;
            filled.then_some(())
        })
        .await;
    }

    /// Waits until the replica is what the owner has, exactly.
    async fn is_equal(&self) {
        let items = all(&self.stock, "select * from items order by id").await;
        test_servers::eventually("the replica is as its owner", BOUND, async || {
            let copies = all(&self.shop, "select * from copies order by id").await;
            (copies == items).then_some(())
        })
        .await;
    }

    /// Of no item did a reader see an older version after a newer one, or anything after its end.
    async fn took_no_step_back(&self) {
        let steps_back: i64 = sqlx::query_scalar(
            "select count(*) from (
                 select version, lag(version) over by_item as before,
                        row_number() over by_item > 1 as is_later
                 from history window by_item as (partition by id order by position)
             ) as step
             where is_later and (before is null or version < before)",
        )
        .fetch_one(&self.shop)
        .await
        .expect("the history");
        assert_eq!(steps_back, 0);
    }

    async fn count(&self, query: &'static str) -> i64 {
        let counted = sqlx::query(query).fetch_one(&self.shop).await;
        counted.expect("a count").get(0)
    }
}

async fn all(pool: &PgPool, query: &'static str) -> Vec<Item> {
    sqlx::query_as(query).fetch_all(pool).await.expect("items")
}
