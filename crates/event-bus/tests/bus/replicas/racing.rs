//! Pages that are overtaken by events, and a queue that is late.

use std::sync::Arc;

use event_bus::{
    GetSnapshotPage, HandlerError, Origin, Received, ReplicaStore, RespondError, Responder,
    SnapshotPage, UnitOfWork,
};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use sqlx::PgPool;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use super::{Copies, ITEMS, Item, Warehouse, all};
use crate::support::{Ground, Running, on_both_transports};

/// Reads all there is, and answers when it may.
#[derive(Clone)]
struct Slow {
    items: PgPool,
    has_read: Arc<Notify>,
    may_answer: Arc<Semaphore>,
}

impl Responder<GetSnapshotPage<Item>> for Slow {
    async fn respond(
        &self,
        _: Received<GetSnapshotPage<Item>>,
    ) -> Result<SnapshotPage<Item>, RespondError<()>> {
        let entities = all(&self.items, "select * from items order by id").await;
        self.has_read.notify_one();
        self.may_answer.acquire().await?.forget();
        Ok(SnapshotPage {
            version: 1,
            entities,
            next: None,
        })
    }
}

async fn a_page_that_was_read_before_an_event_brings_nothing_back(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(30).await;
    let slow = Slow {
        items: warehouse.stock.clone(),
        has_read: Arc::default(),
        may_answer: Arc::new(Semaphore::new(0)),
    };
    let stock = ground.participant("stock").await.answer(slow.clone());
    let stock = Running::start(stock).await;
    let shop = warehouse.keep(&Copies::new()).await;
    slow.has_read.notified().await;
    warehouse.changes_and_deletes_some(&stock).await;
    let heard = "select count(*) from replica_versions";
    ground.expect_count("shop", heard, 20).await;
    slow.may_answer.add_permits(1);
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
    // What was gone before the page came was never there for a reader.
    let ever = "select count(distinct id) from history";
    assert_eq!(warehouse.count(ever).await, 20);

    // The same when there is a replica: what became newer is not taken for gone.
    shop.bus.refill::<Copies>().await.expect("it is wanted");
    slow.has_read.notified().await;
    warehouse.changes_and_deletes_some(&stock).await;
    warehouse.is_equal().await;
    slow.may_answer.add_permits(1);
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
    warehouse.took_no_step_back().await;
}

impl Warehouse<'_> {
    async fn changes_and_deletes_some(&self, stock: &Running) {
        let mut work = stock.bus.begin().await.expect("a unit of work");
        let items = all(&self.stock, "select * from items order by id").await;
        for (n, mut item) in items.into_iter().enumerate() {
            match n % 3 {
                0 => ITEMS.delete(&mut work, &item).await.expect("deleted"),
                1 => {
                    item.version += 1;
                    ITEMS.update(&mut work, &item).await.expect("changed");
                }
                _ => {}
            }
        }
        work.commit().await.expect("committed");
    }
}

on_both_transports! {
    a_page_that_was_read_before_an_event_brings_nothing_back,
}

/// A replica beside the other one, to see that there is nothing to wait for but the queue.
struct Beside;

impl ReplicaStore for Beside {
    type Eto = Item;
    const NAME: &'static str = "beside";

    async fn keep(&self, _: &mut UnitOfWork, _: &Item, _: Origin<'_>) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn remove(
        &self,
        _: &mut UnitOfWork,
        _: Uuid,
        _: i64,
        _: Origin<'_>,
    ) -> Result<(), HandlerError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_asked_for_before_the_queue_is_bound() {
    let ground = Ground::rabbitmq().await;
    let warehouse = Warehouse::on(&ground).await;
    warehouse.had(30).await;
    let _stock = warehouse.open().await;
    // A queue of that name and another kind is in the way.
    let url = ground.broker().url();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await;
    let channel = connection.expect("a connection").create_channel().await;
    let channel = channel.expect("a channel");
    let durable = QueueDeclareOptions::durable();
    let declared = channel.queue_declare("shop.items".into(), durable, FieldTable::default());
    declared.await.expect("a queue");

    let shop = ground.participant("shop").await;
    let copies = Copies::new();
    let shop = Running::start(shop.replica(copies.clone()).replica(Beside)).await;
    for _ in 0..3 {
        test_servers::eventually("the other one is filled", super::BOUND, async || {
            let filled = shop.bus.replica_filled::<Beside>().await.ok()?;
            filled.then_some(())
        })
        .await;
        shop.bus.refill::<Beside>().await.expect("it is wanted");
    }
    assert_eq!(copies.shown(), 0);

    let deleted = channel.queue_delete("shop.items".into(), QueueDeleteOptions::default());
    deleted.await.expect("it is gone");
    warehouse.is_filled(&shop).await;
    warehouse.is_equal().await;
}
