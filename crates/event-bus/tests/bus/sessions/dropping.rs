//! Whatever is dropped, wherever it waits, leaves nothing behind.

use std::cell::{Cell, RefCell};
use std::task::Poll;
use std::time::Duration;

use event_bus::dead_letters::{BulkMode, DeadLetterFilter};
use event_bus::{ConsumerGroup, EventBus};
use jiff::Timestamp;
use test_servers::cut_everywhere;
use uuid::Uuid;

use crate::querying::{GetPrice, PriceList};
use crate::replicas::{Copies, ITEMS, Item, Warehouse};
use crate::support::{
    BOUND, Effect, Ground, Placed, Release, Reserved, Running, on_both_transports,
};

on_both_transports! {
    a_call_that_is_dropped_anywhere_leaves_nothing_open_and_loses_nothing,
    a_nested_transaction_that_is_dropped_while_it_begins_fails_the_commit,
}

/// Two buses of one schema's owner each, and the orders whose commit was seen to succeed.
struct Calls<'a> {
    shop: &'a EventBus,
    stock: &'a EventBus,
    next: Cell<u32>,
    committed: RefCell<Vec<i64>>,
}

impl Calls<'_> {
    fn order(&self) -> u32 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    async fn begin_and_end(&self) {
        let begun = cut_everywhere("begin", || self.shop.begin()).await;
        begun
            .expect("a unit of work")
            .rollback()
            .await
            .expect("it is rolled back");
        let commit = async |order| {
            let mut work = self.shop.begin().await?;
            work.publish(&Placed { order }).expect("it is JSON");
            work.commit().await?;
            self.committed.borrow_mut().push(i64::from(order));
            Ok::<_, sqlx::Error>(())
        };
        cut_everywhere("commit", || commit(self.order()))
            .await
            .expect("committed");
        let rollback = async || self.shop.begin().await?.rollback().await;
        cut_everywhere("rollback", rollback)
            .await
            .expect("rolled back");
        let cancel = async || {
            let mut work = self.shop.begin().await?;
            let later = Timestamp::now() + Duration::from_secs(3600);
            let id = work
                .schedule(&Release { order: 0 }, later)
                .expect("it is JSON");
            work.commit().await?;
            let mut work = self.shop.begin().await?;
            let cancelled = work.cancel_scheduled(id).await?;
            work.commit().await?;
            Ok::<_, sqlx::Error>(cancelled)
        };
        assert!(
            cut_everywhere("cancel_scheduled", cancel)
                .await
                .expect("cancelled")
        );
    }

    async fn ask_and_tell(&self) {
        let shop = self.shop;
        cut_everywhere("bound", || shop.bound()).await;
        cut_everywhere("outbox_age", || shop.outbox_age())
            .await
            .expect("an age");
        let publish = async |order| shop.publish_now(&Placed { order }).await;
        cut_everywhere("publish_now", || publish(self.order()))
            .await
            .expect("published");
        let ask = async || shop.request(&GetPrice { product: 1 }, BOUND).await;
        cut_everywhere("request", ask).await.expect("an answer");
        self.subscribe_and_unsubscribe().await;
    }

    async fn subscribe_and_unsubscribe(&self) {
        // Under a new name each time: what was dropped is removed in the background.
        let subscribe = async |number: u32| {
            let name: &'static str = format!("late-{number}").leak();
            let group = ConsumerGroup::new(name).handle::<Reserved, _>(Effect::named(name));
            self.shop.subscribe(group).await
        };
        let first = self.next.get() + 1;
        let subscribed = cut_everywhere("subscribe", || subscribe(self.order())).await;
        let subscription = subscribed.expect("it subscribes");
        subscription.unsubscribe().await.expect("it unsubscribes");
        // Each name is free again, so whatever was begun under it is gone.
        for number in first..=self.next.get() {
            test_servers::eventually("the name is free again", BOUND, async || {
                subscribe(number).await.ok()?.unsubscribe().await.ok()
            })
            .await;
        }
        let subscriptions = RefCell::new(Vec::new());
        let unsubscribe = async |number: u32| {
            let subscription = subscribe(number).await.expect("it subscribes");
            subscriptions.borrow_mut().push(subscription.clone());
            subscription.unsubscribe().await
        };
        let unsubscribed = cut_everywhere("unsubscribe", || unsubscribe(self.order())).await;
        unsubscribed.expect("it unsubscribes");
        for subscription in subscriptions.into_inner() {
            subscription
                .unsubscribe()
                .await
                .expect("it can be called again");
        }
    }

    async fn look_after_dead_letters(&self) {
        let letters = self.stock.dead_letters();
        let (filter, id) = (DeadLetterFilter::default(), Uuid::now_v7());
        let list = || letters.list(&filter, None, 10);
        cut_everywhere("list", list).await.expect("a list");
        cut_everywhere("count", || letters.count(&filter))
            .await
            .expect("a count");
        cut_everywhere("show", || letters.show(id))
            .await
            .expect("no letter");
        cut_everywhere("replay", || letters.replay(id))
            .await
            .expect("no letter");
        cut_everywhere("discard", || letters.discard(id))
            .await
            .expect("no letter");
        for mode in [BulkMode::DryRun, BulkMode::Apply] {
            let replay = || letters.replay_all(&filter, mode);
            cut_everywhere("replay_all", replay)
                .await
                .expect("replayed");
            let discard = || letters.discard_all(&filter, mode);
            cut_everywhere("discard_all", discard)
                .await
                .expect("discarded");
        }
    }

    async fn write_entities_and_fill_replicas(&self) {
        let write = async || {
            let mut work = self.stock.begin().await.expect("a unit of work");
            let item = Item {
                id: Uuid::now_v7(),
                name: "an item".to_owned(),
                version: 1,
            };
            ITEMS.insert(&mut work, &item).await.expect("inserted");
            ITEMS.update(&mut work, &item).await.expect("updated");
            ITEMS.delete(&mut work, &item).await.expect("deleted");
            work.commit().await
        };
        cut_everywhere("repository", write).await.expect("written");
        let filled = || self.shop.replica_filled::<Copies>();
        cut_everywhere("replica_filled", filled)
            .await
            .expect("whether it is filled");
        cut_everywhere("refill", || self.shop.refill::<Copies>())
            .await
            .expect("refilled");
    }
}

async fn a_call_that_is_dropped_anywhere_leaves_nothing_open_and_loses_nothing(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    warehouse.had(10).await;
    let reserve = Effect::named("reserve");
    let stock = warehouse.owner().await.handle::<Placed, _>(reserve);
    let stock = Running::start(stock.answer::<GetPrice, _>(PriceList)).await;
    let shop = ground.participant("shop").await.replica(Copies::new());
    let shop = Running::start(shop).await;
    warehouse.is_filled(&shop).await;
    expect_nothing_open(ground).await;

    let calls = Calls {
        shop: &shop.bus,
        stock: &stock.bus,
        next: Cell::new(0),
        committed: RefCell::default(),
    };
    calls.begin_and_end().await;
    expect_nothing_open(ground).await;
    calls.ask_and_tell().await;
    expect_nothing_open(ground).await;
    calls.look_after_dead_letters().await;
    expect_nothing_open(ground).await;
    calls.write_entities_and_fill_replicas().await;
    warehouse.is_filled(&shop).await;
    let pool = ground.database.pool("shop").await;
    let migrate = || event_bus::migrate(&pool);
    cut_everywhere("migrate", migrate).await.expect("migrated");
    pool.close().await;
    expect_nothing_open(ground).await;

    // What was committed is handled, each once.
    let fence = calls.order();
    shop.place([fence]).await;
    let mut committed = calls.committed.into_inner();
    committed.push(i64::from(fence));
    test_servers::eventually("all committed orders are handled", BOUND, async || {
        let mut handled = ground.effects("stock").await;
        let count = handled.len();
        handled.dedup();
        assert_eq!(handled.len(), count, "an order was handled twice");
        let is_handled = |order: &i64| handled.contains(&("reserve".to_owned(), *order));
        committed.iter().all(is_handled).then_some(())
    })
    .await;
}

/// Waits for a moment at which no session is in a transaction that nobody goes on with, and no lock
/// is held but those of the two relays.
async fn expect_nothing_open(ground: &Ground) {
    for role in ["shop", "stock"] {
        test_servers::eventually("no transaction is left open", BOUND, async || {
            (ground.database.idle_transactions(role).await == 0).then_some(())
        })
        .await;
        test_servers::eventually("the relay's is the only lock", BOUND, async || {
            (ground.database.advisory_locks(role).await == 1).then_some(())
        })
        .await;
    }
}

#[expect(clippy::disallowed_methods, reason = "users can call it")]
async fn a_nested_transaction_that_is_dropped_while_it_begins_fails_the_commit(ground: &Ground) {
    use sqlx::Connection as _;

    let shop = Running::start(ground.participant("shop").await).await;
    let mut work = shop.bus.begin().await.expect("a unit of work");
    work.publish(&Placed { order: 1 }).expect("it is JSON");
    // A server that responds within the poll leaves nothing to drop: then another one begins.
    loop {
        let nested = std::pin::pin!(work.begin());
        match futures::poll!(nested) {
            Poll::Pending => break,
            Poll::Ready(nested) => {
                let nested = nested.expect("a savepoint");
                nested.rollback().await.expect("it is rolled back");
            }
        }
    }
    let error = work.commit().await.expect_err("there is nothing to commit");
    assert!(error.to_string().contains("nested"), "{error}");
    ground
        .expect_count("shop", "select count(*) from outbox", 0)
        .await;
}
