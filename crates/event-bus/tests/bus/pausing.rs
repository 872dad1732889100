//! A handler that fails nearly always is paused, probed and resumed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_bus::{
    BusSettings, Handler, HandlerError, KillSwitch, Received, RetryPolicy, UnitOfWork,
};

use crate::support::{BOUND, Effect, Ground, Placed, Running, on_both_transports, quick};

/// Fails while what it depends on is down.
#[derive(Clone)]
struct Mail {
    down: Arc<AtomicBool>,
}

impl Handler<Placed> for Mail {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(HandlerError::retry("the mail server is down"));
        }
        Effect::named("mail").apply(placed.order, work).await
    }
}

/// Gives up at once, unless the kill switch is quicker.
fn settings() -> BusSettings {
    BusSettings {
        retry: RetryPolicy {
            immediate: 0,
            delayed: 3,
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            ..RetryPolicy::default()
        },
        kill_switch: Some(KillSwitch {
            window: 5,
            pause: Duration::from_millis(100),
            max_pause: Duration::from_millis(400),
            ..KillSwitch::default()
        }),
        ..quick()
    }
}

async fn a_handler_that_fails_nearly_always_is_paused_until_it_works_again(ground: &Ground) {
    let down = Arc::new(AtomicBool::new(true));
    let stock = ground.participant("stock").await.settings(settings());
    let stock = stock
        .handle::<Placed, _>(Mail { down: down.clone() })
        .handle::<Placed, _>(Effect::named("reserve"));
    let stock = Running::start(stock).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=5).await;
    test_servers::eventually("the handler is paused", BOUND, async || {
        (stock.bus.health().paused_handlers == ["Mail"]).then_some(())
    })
    .await;
    shop.place(6..=100).await;
    // The other handler of the same messages has them all; those of the paused one are untried.
    let reserved: Vec<_> = (1..=100).map(|n| ("reserve", n)).collect();
    ground.expect_effects("stock", &reserved).await;
    let kept = "select count(*) from inbox_retries where handler = 'Mail'";
    ground.expect_count("stock", kept, 100).await;
    let tried = "select count(*) from inbox_retries where attempts > 0";
    let pool = ground.database.pool("stock").await;
    let tried: i64 = sqlx::query_scalar(tried)
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert!(tried < 20, "{tried} messages were tried");

    down.store(false, Ordering::SeqCst);
    let of = |handler| (1..=100).map(move |n| (handler, n));
    let all: Vec<_> = of("mail").chain(of("reserve")).collect();
    ground.expect_effects("stock", &all).await;
    assert!(stock.bus.health().paused_handlers.is_empty());
    ground
        .expect_count("stock", "select count(*) from dead_letters", 0)
        .await;
}

/// Some messages that can't be handled are no sign that none can.
async fn a_handler_that_fails_now_and_then_is_not_paused(ground: &Ground) {
    let fails = Effect {
        fails_at: Some(7),
        failures: u32::MAX,
        ..Effect::named("reserve")
    };
    let stock = ground.participant("stock").await.settings(BusSettings {
        kill_switch: settings().kill_switch,
        ..quick()
    });
    let stock = Running::start(stock.handle::<Placed, _>(fails)).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=40).await;
    ground
        .expect_count("stock", "select count(*) from dead_letters", 1)
        .await;
    assert!(stock.bus.health().paused_handlers.is_empty());
}

on_both_transports! {
    a_handler_that_fails_nearly_always_is_paused_until_it_works_again,
    a_handler_that_fails_now_and_then_is_not_paused,
}
