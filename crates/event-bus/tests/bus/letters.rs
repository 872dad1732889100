//! Nothing that can't be handled is dropped, and nothing behind it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use event_bus::dead_letters::{NotReplayable, ReplayOutcome};
use event_bus::{BusSettings, Envelope, Handler, HandlerError, Received, UnitOfWork};
use lapin::BasicProperties;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use sqlx::Row as _;

use crate::dead_letters::letters;
use crate::hostile::clients::publish;
use crate::support::{BOUND, Effect, Ground, Placed, Running, on_both_transports, placed, quick};

/// A stock that is bound and has handled one message.
async fn stock(ground: &Ground, handler: Effect) -> (Running, Running) {
    let name = handler.name;
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(handler)).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([0]).await;
    ground.expect_effects("stock", &[(name, 0)]).await;
    (stock, shop)
}

/// Waits for the one dead letter: its reason, the first line of its reasons, its body.
async fn letter(ground: &Ground) -> (String, String, Vec<u8>) {
    let pool = ground.database.pool("stock").await;
    test_servers::eventually("there is a dead letter", BOUND, async || {
        let row = sqlx::query("select reason, reasons[1] as detail, body from dead_letters")
            .fetch_optional(&pool)
            .await
            .ok()??;
        Some((row.get("reason"), row.get("detail"), row.get("body")))
    })
    .await
}

async fn a_body_that_is_no_json_is_kept_as_it_came(ground: &Ground) {
    let (_stock, shop) = stock(ground, Effect::named("reserve")).await;
    let body = Bytes::from_static(b"{\"order\": \xff\x00");
    ground
        .inject(Envelope {
            body: body.clone(),
            ..placed(1)
        })
        .await;
    shop.place([2]).await;
    let (reason, detail, kept) = letter(ground).await;
    assert_eq!(reason, "malformed");
    assert!(
        detail.starts_with("the body is no `shop.order.placed`"),
        "{detail}"
    );
    assert_eq!(kept, body);
    ground
        .expect_effects("stock", &[("reserve", 0), ("reserve", 2)])
        .await;
}

async fn a_newer_version_is_kept_until_there_is_a_newer_reader(ground: &Ground) {
    let (_stock, shop) = stock(ground, Effect::named("reserve")).await;
    ground
        .inject(Envelope {
            version: 2,
            ..placed(1)
        })
        .await;
    shop.place([2]).await;
    let (reason, detail, _) = letter(ground).await;
    assert_eq!(reason, "newer_version");
    assert!(detail.contains("version 2"), "{detail}");
    ground
        .expect_effects("stock", &[("reserve", 0), ("reserve", 2)])
        .await;
}

async fn a_rejected_message_is_tried_once(ground: &Ground) {
    let rejecting = Effect {
        fails_at: Some(1),
        failures: u32::MAX,
        rejects: true,
        ..Effect::named("reserve")
    };
    let (_stock, shop) = stock(ground, rejecting).await;
    shop.place([1, 2]).await;
    let (reason, detail, _) = letter(ground).await;
    assert_eq!(
        (reason.as_str(), detail.as_str()),
        ("rejected", "told to fail")
    );
    ground
        .expect_count("stock", "select attempts::bigint from dead_letters", 1)
        .await;
    ground
        .expect_effects("stock", &[("reserve", 0), ("reserve", 2)])
        .await;
}

async fn a_message_that_never_succeeds_blocks_nobody(ground: &Ground) {
    let failing = Effect {
        fails_at: Some(1),
        failures: u32::MAX,
        ..Effect::named("reserve")
    };
    let (_stock, shop) = stock(ground, failing).await;
    shop.place(1..=5).await;
    let expected: Vec<_> = [0, 2, 3, 4, 5].map(|n| ("reserve", n)).to_vec();
    ground.expect_effects("stock", &expected).await;
    let (reason, ..) = letter(ground).await;
    assert_eq!(reason, "retries_exhausted");
    // One first try, one at once, two stored.
    ground
        .expect_count("stock", "select attempts::bigint from dead_letters", 4)
        .await;
    ground
        .expect_count("stock", "select count(*) from inbox_retries", 0)
        .await;
}

/// Counts dead letters, and nothing else.
#[derive(Default)]
struct Count(Arc<AtomicU64>);

impl metrics::Recorder for Count {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == "event_bus.dead_letters" {
            Counter::from_arc(self.0.clone())
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// On one thread, since the recorder is that thread's.
#[tokio::test]
async fn a_letter_is_counted_once_it_is_committed() {
    let ground = &Ground::in_memory().await;
    // The database goes down at the first three commits of a letter. A sequence is not rolled back.
    let pool = ground.database.pool("stock").await;
    sqlx::raw_sql(
        "create sequence refusals;
         create function refuse() returns trigger language plpgsql as $$ begin
             if nextval('refusals') <= 3 then
                 raise exception 'told to shut down' using errcode = 'admin_shutdown';
             end if;
             return null;
         end $$;
         create constraint trigger refuse after insert on dead_letters
             deferrable initially deferred for each row execute function refuse()",
    )
    .execute(&pool)
    .await
    .expect("a trigger");
    let counted = Count::default();
    let count = counted.0.clone();
    let _recording = metrics::set_default_local_recorder(&counted);
    let rejecting = Effect {
        fails_at: Some(1),
        failures: u32::MAX,
        rejects: true,
        ..Effect::named("reserve")
    };
    let (stock, shop) = stock(ground, rejecting).await;
    shop.place([1]).await;
    letters(&stock, 1).await;
    ground
        .expect_count("stock", "select last_value from refusals", 4)
        .await;
    test_servers::eventually("it is counted", BOUND, async || {
        (count.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    stock.stop().await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_no_message_can_be_looked_at_and_discarded_but_not_replayed() {
    let ground = Ground::rabbitmq().await;
    let (stock, _shop) = stock(&ground, Effect::named("reserve")).await;
    publish(&ground, BasicProperties::default(), b"\0 who knows").await;
    let letter = letters(&stock, 1).await.remove(0);
    assert_eq!((letter.message_id, letter.name), (None, None));
    let dead_letters = stock.bus.dead_letters();
    let details = dead_letters.show(letter.id).await.expect("a database");
    let details = details.expect("it is there");
    assert_eq!(details.envelope, None);
    assert_eq!(details.body, b"\0 who knows"[..]);
    let outcome = dead_letters.replay(letter.id).await.expect("a database");
    let unreadable = ReplayOutcome::NotReplayable(NotReplayable::Unreadable);
    assert_eq!(outcome, unreadable);
    letters(&stock, 1).await;
    assert!(dead_letters.discard(letter.id).await.expect("a database"));
    letters(&stock, 0).await;
}

/// Fails at first, and never comes back from an attempt that was stored.
struct Deadly;

impl Handler<Placed> for Deadly {
    async fn handle(
        &self,
        placed: Received<Placed>,
        _: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        if placed.attempt() > 2 {
            std::future::pending::<()>().await;
        }
        Err(HandlerError::retry("told to fail"))
    }
}

/// A process that dies is, for the database, a transaction that is given up.
async fn an_attempt_that_ends_the_process_is_not_begun_for_ever(ground: &Ground) {
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    let pool = ground.database.pool("stock").await;
    for begun in 1..=20 {
        let stock = ground.participant("stock").await.settings(BusSettings {
            shutdown_grace: Duration::ZERO,
            ..quick()
        });
        let stock = Running::start(stock.handle::<Placed, _>(Deadly)).await;
        test_servers::eventually("the attempt is begun", BOUND, async || {
            let query = "select begun from inbox_retries";
            let seen: i32 = sqlx::query_scalar(query).fetch_one(&pool).await.ok()?;
            (seen == begun).then_some(())
        })
        .await;
        stock.stop().await;
    }
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Deadly)).await;
    let (reason, detail, _) = letter(ground).await;
    assert_eq!(reason, "delivery_limit");
    assert_eq!(detail, "20 attempts were begun and did not end");
}

on_both_transports! {
    an_attempt_that_ends_the_process_is_not_begun_for_ever,
    a_body_that_is_no_json_is_kept_as_it_came,
    a_newer_version_is_kept_until_there_is_a_newer_reader,
    a_rejected_message_is_tried_once,
    a_message_that_never_succeeds_blocks_nobody,
}
