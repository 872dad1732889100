//! Filling while the owner goes on.

use event_bus::EventBus;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Copies, ITEMS, Item, Warehouse, all};
use crate::support::{BOUND, Ground, on_both_transports};

/// Creates, changes and deletes items, until told to stop. Returns how often.
async fn work_on(stock: EventBus, worker: u64, stop: CancellationToken) -> u64 {
    let (mut done, mut random) = (0, worker);
    while !stop.is_cancelled() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut work = stock.begin().await.expect("a unit of work");
        // Somewhere among all there are: ids are evenly spread.
        let somewhere = Uuid::from_u64_pair(random, worker);
        let any: Option<Item> = sqlx::query_as(
            "select * from items where id > $1 order by id limit 1 for update skip locked",
        )
        .bind(somewhere)
        .fetch_optional(&mut *work)
        .await
        .expect("an item, or none");
        match ((random >> 20) % 4, any) {
            (0, Some(item)) => ITEMS.delete(&mut work, &item).await.expect("deleted"),
            (1, _) => {
                let item = Item {
                    id: somewhere,
                    name: "new".to_owned(),
                    version: 1,
                };
                ITEMS.insert(&mut work, &item).await.expect("created");
            }
            (_, Some(mut item)) => {
                item.version += 1;
                item.name = format!("changed {}", item.version);
                ITEMS.update(&mut work, &item).await.expect("changed");
            }
            (_, None) => {}
        }
        work.commit().await.expect("committed");
        done += 1;
    }
    done
}

async fn a_replica_misses_nothing_and_takes_no_step_back_while_its_owner_works(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(4000).await;
    let stock = warehouse.open().await;
    let stop = CancellationToken::new();
    let mut load = JoinSet::new();
    for worker in 0..4 {
        load.spawn(work_on(stock.bus.clone(), worker, stop.clone()));
    }
    let copies = Copies::new();
    let shop = warehouse.keep(&copies).await;
    warehouse.is_filled(&shop).await;
    stop.cancel();
    let done: u64 = load.join_all().await.into_iter().sum();
    assert!(done > 50, "the owner did {done} things only");
    assert!(copies.pages() > 5, "{} pages", copies.pages());

    warehouse.is_equal().await;
    warehouse.took_no_step_back().await;
    assert_eq!(
        warehouse.count("select count(*) from dead_letters").await,
        0
    );
    assert!(shop.bus.health().unfilled_replicas.is_empty());
}

/// The queue is there when the first page is asked for.
async fn what_changes_behind_the_cursor_comes_by_its_event(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(1200).await;
    let stock = warehouse.open().await;
    // The first page is applied, the second one read and stuck.
    let copies = Copies::stuck_after(700);
    let shop = warehouse.keep(&copies).await;
    test_servers::eventually("the second page is stuck", BOUND, async || {
        (copies.shown() == 700).then_some(())
    })
    .await;
    // All that was read before is changed now: this page is old when it is applied.
    let mut work = stock.bus.begin().await.expect("a unit of work");
    for (n, mut item) in all(&warehouse.stock, "select * from items order by id")
        .await
        .into_iter()
        .enumerate()
    {
        if n % 2 == 0 {
            ITEMS.delete(&mut work, &item).await.expect("deleted");
        } else {
            item.version += 1;
            ITEMS.update(&mut work, &item).await.expect("changed");
        }
    }
    work.commit().await.expect("committed");
    copies.room.add_permits(10_000);
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
    warehouse.took_no_step_back().await;
}

async fn large_entities_come_in_pages_that_fit_into_an_answer(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    sqlx::query(
        "insert into items select gen_random_uuid(), repeat('x', 100000 * n), 1
         from generate_series(1, 10) n",
    )
    .execute(&warehouse.stock)
    .await
    .expect("large items");
    let _stock = warehouse.open().await;
    let copies = Copies::new();
    let shop = warehouse.keep(&copies).await;
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
    assert!(copies.pages() > 5, "{} pages", copies.pages());
}

async fn an_entity_that_the_replica_rejects_does_not_hold_up_the_others(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(20).await;
    let items = "insert into items values (gen_random_uuid(), 'impossible', 1),
                                          (gen_random_uuid(), 'unstorable', 1)";
    sqlx::query(items)
        .execute(&warehouse.stock)
        .await
        .expect("two items");
    let _stock = warehouse.open().await;
    let shop = warehouse.keep(&Copies::new()).await;
    warehouse.is_filled(&shop).await;
    assert_eq!(warehouse.count("select count(*) from copies").await, 20);
}

async fn an_owner_that_is_away_is_waited_for(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(10).await;
    let shop = warehouse.keep(&Copies::new()).await;
    let begun = "select count(*) from replicas where filled_at is null";
    ground.expect_count("shop", begun, 1).await;
    assert_eq!(shop.bus.health().unfilled_replicas, ["items"]);

    let _stock = warehouse.open().await;
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
}

on_both_transports! {
    a_replica_misses_nothing_and_takes_no_step_back_while_its_owner_works,
    what_changes_behind_the_cursor_comes_by_its_event,
    large_entities_come_in_pages_that_fit_into_an_answer,
    an_entity_that_the_replica_rejects_does_not_hold_up_the_others,
    an_owner_that_is_away_is_waited_for,
}
