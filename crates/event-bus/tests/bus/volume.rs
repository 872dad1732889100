//! A million messages: each has its effect once, and the tables are as small as after the first
//! hundred thousand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event_bus::{BatchHandler, HandlerError, Received, UnitOfWork};
use sqlx::PgPool;

use crate::support::{Ground, Placed, Running};

const ROUNDS: u64 = 10;
const ORDERS_A_ROUND: u64 = 100_000;
const ORDERS_A_COMMIT: u32 = 500;
/// Publishing waits while handling is this far behind.
const MOST_UNDER_WAY: u64 = 20_000;
/// A round that takes longer hangs.
const LONGEST_ROUND: Duration = Duration::from_secs(60);
const MEGABYTE: i64 = 1024 * 1024;

/// Writes how many messages it was given.
struct Tally(Arc<AtomicU64>);

impl BatchHandler<Placed> for Tally {
    async fn handle(
        &self,
        messages: Vec<Received<Placed>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        sqlx::query("insert into effects (handler, number) values ('tally', $1)")
            .bind(i64::try_from(messages.len())?)
            .execute(&mut **work)
            .await?;
        self.0.fetch_add(messages.len() as u64, Ordering::SeqCst);
        Ok(())
    }
}

/// Publishes a round while it is handled, and waits until all of it was.
async fn round(ground: &Ground, shop: &Running, handled: &AtomicU64, before: u64) {
    let mut published = before;
    while published < before + ORDERS_A_ROUND {
        test_servers::eventually("handling keeps up", LONGEST_ROUND, async || {
            let under_way = published.saturating_sub(handled.load(Ordering::SeqCst));
            (under_way < MOST_UNDER_WAY).then_some(())
        })
        .await;
        shop.place(0..ORDERS_A_COMMIT).await;
        published += u64::from(ORDERS_A_COMMIT);
    }
    let pool = ground.database.pool("stock").await;
    test_servers::eventually("all are handled", LONGEST_ROUND, async || {
        let effects = "select coalesce(sum(number), 0)::bigint from effects";
        let effects: i64 = sqlx::query_scalar(effects).fetch_one(&pool).await.ok()?;
        assert!(effects.unsigned_abs() <= published, "some had two effects");
        (effects.unsigned_abs() == published).then_some(())
    })
    .await;
    ground
        .expect_count("shop", "select count(*) from outbox", 0)
        .await;
}

async fn bytes(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(pool)
        .await
        .expect("a size")
}

const OUTBOX: &str = "select pg_total_relation_size('outbox')";
const OUTBOX_KEY: &str = "select pg_relation_size('outbox_pkey')";
const WAITING: &str = "select pg_total_relation_size('outbox_scheduled')
                            + pg_total_relation_size('inbox_retries')
                            + pg_total_relation_size('dead_letters')";
const INBOX: &str = "select sum(pg_total_relation_size(inhrelid))::bigint
                     from pg_inherits where inhparent = 'inbox'::regclass";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_messages_leave_the_tables_flat() {
    let ground = Ground::in_memory().await;
    let handled = Arc::new(AtomicU64::new(0));
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle_batch::<Placed, _>(Tally(handled.clone()))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    let shop_pool = ground.database.pool("shop").await;
    let stock_pool = ground.database.pool("stock").await;

    let empty_inbox = bytes(&stock_pool, INBOX).await;
    let mut after_first = (0, 0, 0);
    for n in 0..ROUNDS {
        let started = Instant::now();
        round(&ground, &shop, &handled, n * ORDERS_A_ROUND).await;
        let rate = ORDERS_A_ROUND as f64 / started.elapsed().as_secs_f64();
        let outbox = bytes(&shop_pool, OUTBOX).await;
        let key = bytes(&shop_pool, OUTBOX_KEY).await;
        let waiting = bytes(&shop_pool, WAITING).await + bytes(&stock_pool, WAITING).await;
        let inbox = bytes(&stock_pool, INBOX).await;
        println!(
            "round {n}: {rate:.0} messages/s; bytes: outbox {outbox}, of it the key {key}, inbox {inbox}"
        );
        if n == 0 {
            after_first = (outbox, waiting, inbox - empty_inbox);
        }
        // Room for what happened to be under way between two vacuums, and no more.
        assert!(outbox < 3 * after_first.0, "the outbox grows: {outbox}");
        assert!(outbox < 32 * MEGABYTE, "the outbox is too large: {outbox}");
        assert!(key < 4 * MEGABYTE, "the outbox's key is too large: {key}");
        assert!(waiting < after_first.1 + MEGABYTE, "{waiting} bytes wait");
        // What it remembers, and nothing of what came and went.
        let expected = after_first.2 * i64::try_from(n + 1).expect("a few");
        let grown = inbox - empty_inbox;
        assert!(grown < expected * 5 / 4, "{grown} bytes in the inbox");
    }

    // A day later, with a retention of nothing: the retention counts back from now.
    sqlx::query("select inbox_keep('-1 day')")
        .execute(&stock_pool)
        .await
        .expect("it is looked after");
    let left = bytes(&stock_pool, INBOX).await;
    assert!(left <= empty_inbox, "{left} bytes are left of the inbox");
}
