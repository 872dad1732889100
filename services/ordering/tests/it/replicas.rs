//! Replicas that are filled from snapshots, and what was kept before there were any.

use std::collections::BTreeMap;

use event_bus::{
    EventBus, GetSnapshotPage, RabbitMq, Received, RespondError, Responder, SnapshotPage,
};
use event_contracts::catalog::ProductEto;
use event_contracts::identity::UserEto;
use ordering::Ordering;
use service_host::Service as _;
use sqlx::migrate::Migrator;
use test_servers::{TestDatabase, eventually};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::customers::user;
use crate::support::{Person, SOON, Shop, order_for, path_of, product, whats};

/// An owner's responder: all there is, on one page.
struct All<T>(Vec<T>);

macro_rules! answers_with_all_of {
    ($($eto:ty),*) => {$(
        impl Responder<GetSnapshotPage<$eto>> for All<$eto> {
            async fn respond(
                &self,
                _: Received<GetSnapshotPage<$eto>>,
            ) -> Result<SnapshotPage<$eto>, RespondError<()>> {
                Ok(SnapshotPage {
                    version: 1,
                    entities: self.0.clone(),
                    next: None,
                })
            }
        }
    )*};
}
answers_with_all_of!(ProductEto, UserEto);

impl Shop {
    /// Catalog and identity answer, and the replicas are filled.
    async fn is_shown(&self, products: Vec<ProductEto>, users: Vec<UserEto>) -> DropGuard {
        let shutdown = CancellationToken::new();
        let transport = RabbitMq::new(&self.broker_url()).unwrap();
        EventBus::builder("owners", self.pool.clone(), transport)
            .answer::<GetSnapshotPage<ProductEto>, _>(All(products))
            .answer::<GetSnapshotPage<UserEto>, _>(All(users))
            .start(shutdown.clone())
            .await
            .unwrap();
        eventually("the replicas are filled", SOON, async || {
            let filled = "select count(*) from replicas where filled_at is not null";
            let filled: i64 = sqlx::query_scalar(filled)
                .fetch_one(&self.pool)
                .await
                .unwrap();
            (filled == 2).then_some(())
        })
        .await;
        shutdown.drop_guard()
    }
}

#[tokio::test]
async fn a_snapshot_brings_names_and_renames_only_whom_it_shows_changed() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let (alice, bob) = (Person::new("Alice", &[]), Person::new("Bob", &[]));
    let alices = shop.order(&order_for(lamp, 1), Some(alice)).await;
    let bobs = shop.order(&order_for(lamp, 1), Some(bob)).await;
    sqlx::query("insert into customers (id, name, version) values ($1, 'Alice', 1)")
        .bind(alice.id)
        .execute(&shop.pool)
        .await
        .unwrap();

    let lamps = vec![product(lamp, "Lamp", "19.90", 1)];
    let mut users = vec![user(alice, "Liddell", 2), user(bob, "Builder", 5)];
    users.sort_by_key(|user| user.id);
    let _owners = shop.is_shown(lamps, users).await;
    let renamed = shop.read(&path_of(&alices), Some(alice)).await;
    assert_eq!(renamed["customerName"], "Alice Liddell");
    let history = shop.history(&alices, Some(alice)).await;
    assert_eq!(whats(&history), ["placed", "renamed"]);
    // Of Bob nothing was known before, so nothing has changed.
    assert_eq!(shop.read(&path_of(&bobs), Some(bob)).await, bobs);
}

#[tokio::test]
async fn what_was_kept_before_the_bus_compared_versions_is_not_replaced_by_older_pictures() {
    let database = TestDatabase::create(&["ordering"]).await;
    let pool = database.pool("ordering").await;
    event_bus::migrate(&pool).await.unwrap();
    let all = Ordering::migrator();
    let before = all.iter().filter(|migration| migration.version < 3);
    Migrator::with_migrations(before.cloned().collect())
        .run(&pool)
        .await
        .unwrap();
    let ids = [1, 2].map(Uuid::from_u128);
    sqlx::query(
        "insert into products (id, name, price, version, deleted)
         values ($1, 'Lamp', 19.90, 7, false), ($2, 'Chair', 80.00, 3, true)",
    )
    .bind(ids[0])
    .bind(ids[1])
    .execute(&pool)
    .await
    .unwrap();
    all.run(&pool).await.unwrap();
    let versions: Vec<(Uuid, i64, bool)> = sqlx::query_as(
        "select entity_id, version, deleted_at is not null
         from replica_versions where replica = 'products'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let versions: BTreeMap<_, _> = versions
        .into_iter()
        .map(|(id, v, d)| (id, (v, d)))
        .collect();
    assert_eq!(
        versions,
        BTreeMap::from([(ids[0], (7, false)), (ids[1], (3, true))])
    );
}
