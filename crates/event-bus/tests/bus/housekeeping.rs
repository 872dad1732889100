//! The tables keep what they must, and nothing longer.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is not dropped while it begins a transaction"
)]

use std::time::Duration;

use event_bus::BusSettings;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};

use crate::support::{Ground, Running, quick};

async fn partitions(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select inhrelid::regclass::text from pg_inherits
         where inhparent = 'inbox'::regclass order by 1",
    )
    .fetch_all(pool)
    .await
    .expect("the partitions")
}

async fn keep(pool: &PgPool) {
    sqlx::query("select inbox_keep('7 days')")
        .execute(pool)
        .await
        .expect("it is looked after");
}

#[tokio::test]
async fn old_partitions_go_unless_something_in_them_was_taken_lately() {
    let ground = Ground::in_memory().await;
    let pool = ground.database.pool("stock").await;
    assert_eq!(
        partitions(&pool).await.len(),
        4,
        "three days and the default"
    );
    sqlx::raw_sql(
        "create table inbox_20200101 partition of inbox
             for values from (inbox_day_start('2020-01-01')) to (inbox_day_start('2020-01-02'));
         create table inbox_20200102 partition of inbox
             for values from (inbox_day_start('2020-01-02')) to (inbox_day_start('2020-01-03'));
         insert into inbox values
             (inbox_day_start('2020-01-01'), 'taken long ago', '2020-01-01'),
             (inbox_day_start('2020-01-02'), 'scheduled long ago, taken now', now()),
             (inbox_day_start('2019-01-01'), 'no partition, old', '2020-01-01'),
             (inbox_day_start('2019-01-02'), 'no partition, new', now())",
    )
    .execute(&pool)
    .await
    .expect("old partitions");

    keep(&pool).await;
    let left = partitions(&pool).await;
    assert!(!left.contains(&"inbox_20200101".to_owned()), "{left:?}");
    assert!(left.contains(&"inbox_20200102".to_owned()), "{left:?}");
    let kept: Vec<String> = sqlx::query_scalar("select handler from inbox order by 1")
        .fetch_all(&pool)
        .await
        .expect("what is remembered");
    assert_eq!(kept, ["no partition, new", "scheduled long ago, taken now"]);
    keep(&pool).await;
    assert_eq!(
        partitions(&pool).await,
        left,
        "done again, it changes nothing"
    );
}

/// Claims a message as a handler does, in a transaction that stays open.
async fn running_handler(pool: &PgPool) -> Transaction<'static, Postgres> {
    let mut transaction = pool.begin().await.expect("a transaction");
    // It can't wait: another session's locks make it fail.
    sqlx::raw_sql("set local lock_timeout = '1s'")
        .execute(&mut *transaction)
        .await
        .expect("a time-out");
    sqlx::query("insert into inbox (message_id, handler) values ($1, 'slow')")
        .bind(uuid::Uuid::now_v7())
        .execute(&mut *transaction)
        .await
        .expect("a claim");
    transaction
}

#[tokio::test]
async fn house_keeping_neither_waits_for_long_handlers_nor_makes_claims_wait() {
    let ground = Ground::in_memory().await;
    let pool = ground.database.pool("stock").await;
    sqlx::raw_sql(
        "create table inbox_20200101 partition of inbox
             for values from (inbox_day_start('2020-01-01')) to (inbox_day_start('2020-01-02'));
         insert into inbox values
             (inbox_day_start('2020-01-01'), 'old', '2020-01-01'),
             (inbox_day_start('2019-01-01'), 'old, no partition', '2020-01-01')",
    )
    .execute(&pool)
    .await
    .expect("an old partition");
    let mut days = partitions(&pool).await.into_iter();
    let newest = days.rfind(|name| name != "inbox_default").expect("a day");
    sqlx::query(AssertSqlSafe(format!("drop table {newest}")))
        .execute(&pool)
        .await
        .expect("the day after tomorrow is missing");

    let slow = running_handler(&pool).await;
    let mut keeping = pool.begin().await.expect("a transaction");
    sqlx::query("select inbox_keep('7 days')")
        .execute(&mut *keeping)
        .await
        .expect("house-keeping beside a handler");
    let another = running_handler(&pool).await;
    keeping.commit().await.expect("what was kept");

    let old: i64 = sqlx::query_scalar("select count(*) from inbox where handler like 'old%'")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(old, 0, "the old rows are deleted although handlers run");
    let left = partitions(&pool).await;
    assert!(left.contains(&newest), "the missing day is made: {left:?}");

    slow.rollback().await.expect("the handler ends");
    another.rollback().await.expect("the handler ends");
    keep(&pool).await;
    let left = partitions(&pool).await;
    assert!(!left.contains(&"inbox_20200101".to_owned()), "{left:?}");
}

#[tokio::test]
async fn a_day_starts_with_its_smallest_uuid() {
    let ground = Ground::in_memory().await;
    let pool = ground.database.pool("stock").await;
    let start: uuid::Uuid = sqlx::query_scalar("select inbox_day_start('2026-11-21')")
        .fetch_one(&pool)
        .await
        .expect("a start");
    // 2026-11-21T00:00:00Z in milliseconds, as the first 48 bits.
    assert_eq!(start.as_u128() >> 80, 1_795_219_200_000);
}

/// Starts and stops a bus that keeps dead letters for so long, and says which are left.
async fn letters_after(ground: &Ground, retention: Option<Duration>, expected: i64) -> Vec<i32> {
    let settings = BusSettings {
        dead_letter_retention: retention,
        ..quick()
    };
    let stock = ground.participant("stock").await.settings(settings);
    let stock = Running::start(stock).await;
    ground
        .expect_count("stock", "select count(*) from dead_letters", expected)
        .await;
    stock.stop().await;
    sqlx::query_scalar("select attempts from dead_letters order by 1")
        .fetch_all(&ground.database.pool("stock").await)
        .await
        .expect("what is left")
}

#[tokio::test]
async fn dead_letters_go_after_their_time_and_not_before() {
    let ground = Ground::in_memory().await;
    let pool = ground.database.pool("stock").await;
    // More old ones than go in one transaction; `attempts` tells the ages apart, in days.
    sqlx::query(
        "insert into dead_letters (id, reason, reasons, body, attempts, first_failed_at, dead_at)
         select gen_random_uuid(), 'malformed', '{}', '', age, now(), now() - age * interval '1 day'
         from (select 89 as age union all select 91 from generate_series(1, 1234)
               union all select 5) as letter",
    )
    .execute(&pool)
    .await
    .expect("old letters");
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(letters_after(&ground, None, 1236).await.len(), 1236);
    let default = BusSettings::default().dead_letter_retention;
    assert_eq!(letters_after(&ground, default, 2).await, [5, 89]);
    assert_eq!(letters_after(&ground, Some(6 * day), 1).await, [5]);
}
