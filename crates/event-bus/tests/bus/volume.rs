//! A million messages leave the tables as small as the first hundred thousand did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event_bus::{BatchHandler, BusSettings, HandlerError, Received, UnitOfWork};
use sqlx::PgPool;

use crate::support::{Ground, Placed, Running, quick};

const ROUNDS: u32 = 10;
const ORDERS_PER_ROUND: u32 = 100_000;
const ORDERS_PER_COMMIT: u32 = 500;
/// Publishing waits when handling is this far behind.
const MOST_UNDER_WAY: u64 = 20_000;

/// Counts, in sets.
struct Tally(Arc<AtomicU64>);

impl BatchHandler<Placed> for Tally {
    async fn handle(
        &self,
        messages: Vec<Received<Placed>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let sum: i64 = messages.iter().map(|placed| i64::from(placed.order)).sum();
        sqlx::query("insert into effects (handler, number) values ($1, $2)")
            .bind(messages.len().to_string())
            .bind(sum)
            .execute(&mut **work)
            .await?;
        self.0.fetch_add(messages.len() as u64, Ordering::SeqCst);
        Ok(())
    }
}

async fn sizes(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as("select pg_table_size('outbox'), pg_indexes_size('outbox')")
        .fetch_one(pool)
        .await
        .expect("sizes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_messages_leave_the_outbox_flat() {
    let ground = Ground::in_memory().await;
    let handled = Arc::new(AtomicU64::new(0));
    let stock = ground.participant("stock").await.settings(BusSettings {
        batch: 512,
        ..quick()
    });
    let _stock = Running::start(stock.handle_batch::<Placed, _>(Tally(handled.clone()))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    let pool = ground.database.pool("shop").await;
    let stock_pool = ground.database.pool("stock").await;
    let mut published: u64 = 0;
    for round in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..ORDERS_PER_ROUND / ORDERS_PER_COMMIT {
            test_servers::eventually("handling keeps up", Duration::from_secs(60), async || {
                (published - handled.load(Ordering::SeqCst).min(published) < MOST_UNDER_WAY)
                    .then_some(())
            })
            .await;
            shop.place(0..ORDERS_PER_COMMIT).await;
            published += u64::from(ORDERS_PER_COMMIT);
        }
        test_servers::eventually("all is handled", Duration::from_secs(60), async || {
            (handled.load(Ordering::SeqCst) >= published).then_some(())
        })
        .await;
        let inbox: (i64,i64) = sqlx::query_as("select sum(pg_total_relation_size(inhrelid))::bigint, (select count(*) from effects) from pg_inherits where inhparent = 'inbox'::regclass").fetch_one(&stock_pool).await.unwrap();
        println!(
            "round {round}: {:?} {:?} inbox {inbox:?}",
            started.elapsed(),
            sizes(&pool).await
        );
    }
}
