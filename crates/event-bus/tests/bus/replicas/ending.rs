//! Replicas that are filled anew, and what is remembered of entities that are gone.

use std::time::Duration;

use event_bus::BusSettings;

use super::{Copies, ITEMS, Item, Warehouse, all};
use crate::support::{Ground, Running, on_both_transports, quick};

async fn a_damaged_replica_is_mended_by_filling_it_anew(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(1100).await;
    let stock = warehouse.open().await;
    let shop = warehouse.keep(&Copies::new()).await;
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
    // Here some are lost; there some go and some change, and nobody is told.
    let damage = "delete from copies where version = 1; delete from history;
                  delete from replica_versions where version = 2";
    let untold =
        "delete from items where version = 3; update items set version = 9 where version = 4";
    for (pool, sql) in [(&warehouse.shop, damage), (&warehouse.stock, untold)] {
        sqlx::raw_sql(sql).execute(pool).await.expect("it is done");
    }

    shop.bus.refill::<Copies>().await.expect("it is wanted");
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
    warehouse.took_no_step_back().await;

    // Events go on where the pages ended.
    let item = all(&warehouse.stock, "select * from items where version = 9").await;
    let item = Item {
        version: 10,
        ..item.into_iter().next().expect("an item")
    };
    let mut work = stock.bus.begin().await.expect("a unit of work");
    ITEMS.update(&mut work, &item).await.expect("changed");
    work.commit().await.expect("committed");
    warehouse.is_equal().await;
}

async fn what_was_taken_for_gone_comes_back_when_the_owner_shows_it(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(30).await;
    let _stock = warehouse.open().await;
    let shop = warehouse.keep(&Copies::new()).await;
    warehouse.is_filled(&shop).await;
    sqlx::raw_sql("create table aside as select * from items; delete from items")
        .execute(&warehouse.stock)
        .await
        .expect("all are aside");
    shop.bus.refill::<Copies>().await.expect("it is wanted");
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
    sqlx::query("insert into items select * from aside")
        .execute(&warehouse.stock)
        .await
        .expect("all are back");
    shop.bus.refill::<Copies>().await.expect("it is wanted");
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
}

on_both_transports! {
    a_damaged_replica_is_mended_by_filling_it_anew,
    what_was_taken_for_gone_comes_back_when_the_owner_shows_it,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_entities_are_forgotten_after_the_letters_of_their_time() {
    let ground = Ground::in_memory().await;
    let warehouse = Warehouse::on(&ground).await;
    sqlx::query(
        "insert into replica_versions values
             ('items', gen_random_uuid(), 1, null, 1),
             ('items', gen_random_uuid(), 2, now() - interval '10 days', 1),
             ('items', gen_random_uuid(), 3, now() - interval '6 days', 1)",
    )
    .execute(&warehouse.shop)
    .await
    .expect("versions");
    let day = Duration::from_secs(24 * 60 * 60);
    let settings = BusSettings {
        dead_letter_retention: Some(day * 2),
        inbox_retention: day * 7,
        ..quick()
    };
    let shop = ground.participant("shop").await;
    let _shop = Running::start(shop.settings(settings)).await;
    let all = "select count(*) from replica_versions";
    ground.expect_count("shop", all, 2).await;
    let others = "select count(*) from replica_versions where version <> 2";
    assert_eq!(warehouse.count(others).await, 2);
}
