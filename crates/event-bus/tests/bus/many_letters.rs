//! A hundred thousand dead letters are found, replayed and cut off like one.

use std::collections::BTreeSet;
use std::time::Duration;

use event_bus::dead_letters::{BulkMode, DeadLetterFilter, DeadLetterReason, DeadLetterSummary};
use event_bus::{EventBus, Handler, HandlerError, InMemory, Message as _, Received, UnitOfWork};
use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use crate::dead_letters::ALL;
use crate::support::{BOUND, Effect, Ground, Placed, Running, quick};

const MANY: i64 = 100_000;

/// Writes letters of orders 1 to `count`, one died each second until now. Every 100th is of the
/// handler `rare`, the others of `reserve`; the 10th, the 110th and so on have another name, and
/// the 20th, the 120th and so on another reason.
async fn write_letters(pool: &PgPool, count: i64) {
    sqlx::query(
        "insert into dead_letters (id, message_id, handler, name, reason, reasons, attributes, body,
                                   attempts, first_failed_at, dead_at)
         select lpad(to_hex(n), 32, '0')::uuid, message_id,
                case n % 100 when 0 then 'rare' else 'reserve' end,
                case n % 100 when 10 then 'shop.other' else 'shop.order.placed' end,
                case n % 100 when 20 then 'too_large' else 'retries_exhausted' end,
                array['told to fail'],
                jsonb_build_object('id', message_id, 'type', 'shop.order.placed', 'dataversion', 1,
                                   'kind', 'event', 'source', 'shop', 'correlationid', message_id,
                                   'time', '2026-01-01T00:00:00Z', 'mandatory', true),
                convert_to('{\"order\":' || n || '}', 'UTF8'), 4, now(),
                now() - ($1 - n) * interval '1 second'
         from (select n, gen_random_uuid() as message_id from generate_series(1, $1) as n) as letter",
    )
    .bind(count)
    .execute(pool)
    .await
    .expect("letters");
    sqlx::query("analyze dead_letters")
        .execute(pool)
        .await
        .expect("statistics");
}

fn matches(filter: &DeadLetterFilter, letter: &DeadLetterSummary) -> bool {
    let is = |wanted: &Option<String>, value: &Option<String>| wanted.is_none() || wanted == value;
    is(&filter.handler, &letter.handler)
        && is(&filter.name, &letter.name)
        && filter.reason.is_none_or(|reason| reason == letter.reason)
        && (filter.message_id.is_none() || filter.message_id == letter.message_id)
        && filter.since.is_none_or(|since| letter.dead_at >= since)
        && filter.until.is_none_or(|until| letter.dead_at < until)
}

/// A filter of each kind, and of two together. Each matches some letters, and not many.
fn filters(letters: &[DeadLetterSummary]) -> Vec<DeadLetterFilter> {
    let rare = DeadLetterFilter {
        handler: Some("rare".to_owned()),
        ..ALL
    };
    let oldest = letters.last().expect("there are some").dead_at;
    let an_hour_ago = Timestamp::now() - Duration::from_secs(3600);
    vec![
        DeadLetterFilter {
            until: Some(an_hour_ago),
            ..rare.clone()
        },
        rare,
        DeadLetterFilter {
            name: Some("shop.other".to_owned()),
            ..ALL
        },
        DeadLetterFilter {
            reason: Some(DeadLetterReason::TooLarge),
            ..ALL
        },
        DeadLetterFilter {
            message_id: letters[letters.len() / 2].message_id,
            ..ALL
        },
        DeadLetterFilter {
            since: Some(oldest + Duration::from_secs(7)),
            until: Some(oldest + Duration::from_secs(70)),
            ..ALL
        },
    ]
}

#[tokio::test]
async fn every_filter_finds_its_letters_page_by_page_newest_first() {
    let ground = Ground::in_memory().await;
    let pool = ground.database.pool("stock").await;
    let stock = Running::start(ground.participant("stock").await).await;
    write_letters(&pool, 5000).await;
    let dead_letters = stock.bus.dead_letters();
    let letters = dead_letters.list(&ALL, None, 10_000).await;
    let letters = letters.expect("a database");
    assert_eq!(letters.len(), 5000);
    for filter in filters(&letters) {
        let expected: Vec<_> = letters
            .iter()
            .filter(|letter| matches(&filter, letter))
            .cloned()
            .collect();
        assert!((1..=70).contains(&expected.len()), "{filter:?}");
        let count = dead_letters.count(&filter).await.expect("a database");
        assert_eq!(count, expected.len() as u64, "{filter:?}");
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = dead_letters.list(&filter, after, 7).await;
            let page = page.expect("a database");
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            found.extend(page);
        }
        assert_eq!(found, expected, "{filter:?}");
    }
}

/// How many rows of the letters have been read, once so many scans are accounted for.
async fn rows_read(pool: &PgPool, scans: i64) -> i64 {
    test_servers::eventually("the statistics are in", BOUND, async || {
        let (seen, rows): (i64, i64) = sqlx::query_as(
            "select seq_scan + idx_scan, seq_tup_read + idx_tup_fetch
             from pg_stat_user_tables where relid = 'dead_letters'::regclass",
        )
        .fetch_one(pool)
        .await
        .ok()?;
        (seen >= scans).then_some(rows)
    })
    .await
}

#[tokio::test]
async fn finding_a_few_of_many_letters_reads_few() {
    let ground = Ground::in_memory().await;
    let pool = ground.database.pool("stock").await;
    write_letters(&pool, MANY).await;
    // Somebody else leads the relay, and looks how many letters there are.
    let mut leader = pool.acquire().await.expect("a connection");
    sqlx::query(
        "select pg_advisory_lock(hashtextextended('event_bus_relay.' || current_schema(), 0))",
    )
    .execute(&mut *leader)
    .await
    .expect("the lock");
    let own = ground.database.pool("stock").await;
    let stock = EventBus::builder("stock", own.clone(), InMemory::new()).settings(quick());
    let stock = Running::start(stock).await;
    let dead_letters = stock.bus.dead_letters();
    let newest = dead_letters.list(&ALL, None, 50).await.expect("a database");
    let mut lists = 1;
    // Often enough for PostgreSQL to keep a plan for all filters, if it did.
    for _ in 0..10 {
        for filter in filters(&newest) {
            let found = dead_letters.list(&filter, None, 50).await;
            assert!(!found.expect("a database").is_empty(), "{filter:?}");
            lists += 1;
        }
        let middle = Uuid::from_u128(u128::try_from(MANY / 2).expect("a number"));
        let page = dead_letters.list(&ALL, Some(middle), 50).await;
        assert_eq!(page.expect("a database").len(), 50);
        lists += 1;
    }
    stock.stop().await;
    // A session accounts for what it read at its end, if not before.
    own.close().await;
    let rows = rows_read(&pool, lists).await;
    println!("{lists} lists read {rows} rows");
    assert!(rows < lists * 200, "{lists} lists read {rows} rows");
}

/// Never finishes, so that what is replayed stays to be seen.
struct Stuck;

impl Handler<Placed> for Stuck {
    async fn handle(&self, _: Received<Placed>, _: &mut UnitOfWork) -> Result<(), HandlerError> {
        std::future::pending().await
    }

    fn name(&self) -> &'static str {
        "reserve"
    }
}

#[tokio::test]
async fn many_letters_are_replayed_in_transactions_of_some_hundred() {
    let ground = Ground::in_memory().await;
    let pool = ground.database.pool("stock").await;
    write_letters(&pool, MANY).await;
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(Stuck)).await;
    let of_one = DeadLetterFilter {
        handler: Some("reserve".to_owned()),
        name: Some(Placed::NAME.to_owned()),
        ..ALL
    };
    let expected = MANY * 98 / 100;
    let dead_letters = stock.bus.dead_letters();
    let plan = dead_letters.replay_all(&of_one, BulkMode::DryRun).await;
    let plan = plan.expect("a database");
    let started = std::time::Instant::now();
    let report = dead_letters.replay_all(&of_one, BulkMode::Apply).await;
    println!("{} were replayed in {:?}", plan.replayed, started.elapsed());
    assert_eq!(report.expect("a database"), plan);
    assert_eq!(
        (plan.matching, plan.replayed),
        (expected.unsigned_abs(), expected.unsigned_abs())
    );
    let (all, largest): (i64, i64) = sqlx::query_as(
        "select sum(rows)::bigint, max(rows)
         from (select count(*) as rows from inbox_retries group by xmin::text) as written",
    )
    .fetch_one(&pool)
    .await
    .expect("retries");
    assert_eq!(all, expected);
    assert!(largest <= 1000, "{largest} in one transaction");
    let left = dead_letters.count(&ALL).await.expect("a database");
    assert_eq!(left, (MANY - expected).unsigned_abs());
}

/// A stock whose handler of orders has nothing but dead letters.
async fn stock_with_letters(ground: &Ground, count: i64) -> Running {
    let pool = ground.database.pool("stock").await;
    write_letters(&pool, count).await;
    sqlx::query("update dead_letters set handler = 'reserve', name = 'shop.order.placed'")
        .execute(&pool)
        .await
        .expect("all of one handler");
    let stock = ground.participant("stock").await;
    Running::start(stock.handle::<Placed, _>(Effect::named("reserve"))).await
}

#[tokio::test]
async fn the_space_of_many_retries_is_used_again() {
    let ground = Ground::in_memory().await;
    let stock = stock_with_letters(&ground, 5000).await;
    let dead_letters = stock.bus.dead_letters();
    let report = dead_letters.replay_all(&ALL, BulkMode::Apply).await;
    assert_eq!(report.expect("a database").replayed, 5000);
    // Each look for the next one goes past all that were deleted before; autovacuum would come
    // after a minute, and does not count here.
    let pool = ground.database.pool("stock").await;
    test_servers::eventually("it is vacuumed", BOUND * 3, async || {
        let vacuums: i64 = sqlx::query_scalar(
            "select vacuum_count from pg_stat_user_tables
             where relid = 'inbox_retries'::regclass",
        )
        .fetch_one(&pool)
        .await
        .ok()?;
        (vacuums > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replay_that_is_cut_off_is_carried_on() {
    const ORDERS: i64 = 1500;
    let ground = Ground::in_memory().await;
    let pool = ground.database.pool("stock").await;
    let stock = stock_with_letters(&ground, ORDERS).await;
    let bus = stock.bus.clone();
    let replay =
        tokio::spawn(async move { bus.dead_letters().replay_all(&ALL, BulkMode::Apply).await });
    test_servers::eventually("a part is replayed", BOUND, async || {
        let count = stock.bus.dead_letters().count(&ALL).await.ok()?;
        (count < ORDERS.unsigned_abs()).then_some(())
    })
    .await;
    ground.database.close_connections().await;
    let cut_off = replay.await.expect("no panic");
    println!("the first one ended with {cut_off:?}");
    test_servers::eventually("the rest is replayed", BOUND, async || {
        let dead_letters = stock.bus.dead_letters();
        dead_letters.replay_all(&ALL, BulkMode::Apply).await.ok()
    })
    .await;

    let expected: BTreeSet<_> = (1..=ORDERS).collect();
    test_servers::eventually("each has its effect", BOUND * 2, async || {
        let query = "select number from effects";
        let effects: Vec<i64> = sqlx::query_scalar(query).fetch_all(&pool).await.ok()?;
        let different: BTreeSet<_> = effects.iter().copied().collect();
        assert_eq!(different.len(), effects.len(), "one had two effects");
        (different == expected).then_some(())
    })
    .await;
    for table in [
        "select count(*) from inbox_retries",
        "select count(*) from dead_letters",
    ] {
        ground.expect_count("stock", table, 0).await;
    }
}
