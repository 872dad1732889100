//! Settings are checked at the start, and every allowed value works.

use std::time::Duration;

use event_bus::{BusSettings, ConsumerGroup, KillSwitch, RetryPolicy, StartError};
use tokio_util::sync::CancellationToken;

use crate::support::{Effect, Ground, Placed, Running, on_both_transports, quick};

const HOUR: Duration = Duration::from_secs(60 * 60);
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Starts a bus with these settings and returns the name of the setting that was refused, with its
/// owner.
async fn refused(ground: &Ground, settings: BusSettings) -> (String, &'static str) {
    let stock = ground.participant("stock").await.settings(settings);
    match stock.start(CancellationToken::new()).await {
        Err(StartError::InvalidSetting { scope, setting, .. }) => (scope, setting),
        other => panic!("the settings were not refused: {other:?}"),
    }
}

#[tokio::test]
async fn settings_that_would_spin_or_stand_still_are_refused_at_the_start() {
    let ground = Ground::in_memory().await;
    let of_bus = [
        (
            BusSettings {
                relay_batch: 0,
                ..quick()
            },
            "relay_batch",
        ),
        (
            BusSettings {
                relay_window: 0,
                ..quick()
            },
            "relay_window",
        ),
        (
            BusSettings {
                poll_interval: Duration::ZERO,
                ..quick()
            },
            "poll_interval",
        ),
        (
            BusSettings {
                poll_interval: Duration::MAX,
                ..quick()
            },
            "poll_interval",
        ),
        (
            BusSettings {
                inbox_retention: Duration::ZERO,
                ..quick()
            },
            "inbox_retention",
        ),
    ];
    for (settings, setting) in of_bus {
        let expected = ("bus".to_owned(), setting);
        assert_eq!(refused(&ground, settings).await, expected);
    }
    let retry = RetryPolicy {
        max_delay: Duration::MAX,
        ..RetryPolicy::default()
    };
    let kill_switch = KillSwitch {
        window: 0,
        ..KillSwitch::default()
    };
    let of_group = [
        (
            BusSettings {
                batch: 0,
                ..quick()
            },
            "batch",
        ),
        (
            BusSettings {
                workers: 0,
                ..quick()
            },
            "workers",
        ),
        (
            BusSettings {
                prefetch: 0,
                ..quick()
            },
            "prefetch",
        ),
        (BusSettings { retry, ..quick() }, "retry.max_delay"),
        (
            BusSettings {
                kill_switch: Some(kill_switch),
                ..quick()
            },
            "kill_switch.window",
        ),
    ];
    for (settings, setting) in of_group {
        let expected = ("stock".to_owned(), setting);
        assert_eq!(refused(&ground, settings).await, expected);
    }
}

#[tokio::test]
async fn a_groups_own_settings_are_refused_with_the_groups_name() {
    let ground = Ground::in_memory().await;
    let group = || ConsumerGroup::new("mail").handle::<Placed, _>(Effect::named("mail"));
    let stock = ground.participant("stock").await.group(group().batch(0));
    let error = stock
        .start(CancellationToken::new())
        .await
        .expect_err("a batch of nothing");
    assert_eq!(
        error.to_string(),
        "the setting `batch` of `stock.mail` is 0; allowed is 1 to 10000"
    );
    let stock = Running::start(ground.participant("stock").await).await;
    let refused = stock.bus.subscribe(group().prefetch(0)).await;
    assert!(matches!(
        refused,
        Err(StartError::InvalidSetting {
            setting: "prefetch",
            ..
        })
    ));
}

/// Ten orders, of which one fails for good, take their effect with these settings.
async fn orders_are_handled_with(ground: &Ground, settings: BusSettings) {
    let failing = Effect {
        name: "failing",
        fails_at: Some(5),
        failures: u32::MAX,
        ..Effect::default()
    };
    let stock = ground.participant("stock").await.settings(settings.clone());
    let stock = Running::start(stock.handle::<Placed, _>(failing)).await;
    stock.bus.bound().await;
    let shop = ground.participant("shop").await.settings(settings);
    let shop = Running::start(shop).await;
    shop.place(0..10).await;
    let all_but_one: Vec<_> = (0..10)
        .filter(|n| *n != 5)
        .map(|n| ("failing", n))
        .collect();
    ground.expect_effects("stock", &all_but_one).await;
    let stored = "select count(*) from inbox_retries";
    ground.expect_count("stock", stored, 1).await;
    shop.stop().await;
    stock.stop().await;
}

async fn the_smallest_settings_work(ground: &Ground) {
    let settings = BusSettings {
        batch: 1,
        workers: 1,
        prefetch: 1,
        answers_at_once: 1,
        relay_batch: 1,
        relay_window: 1,
        poll_interval: Duration::from_millis(10),
        inbox_retention: HOUR,
        dead_letter_retention: Some(HOUR),
        ..quick()
    };
    orders_are_handled_with(ground, patient(settings)).await;
}

async fn the_largest_settings_work(ground: &Ground) {
    let settings = BusSettings {
        batch: 10_000,
        prefetch: u16::MAX,
        answers_at_once: u16::MAX,
        relay_batch: 10_000,
        relay_window: 1_000,
        poll_interval: HOUR,
        inbox_retention: CENTURY,
        dead_letter_retention: Some(CENTURY),
        ..quick()
    };
    orders_are_handled_with(ground, patient(settings)).await;
}

/// With as many attempts and as long delays as a policy may have.
fn patient(mut settings: BusSettings) -> BusSettings {
    settings.retry = RetryPolicy {
        immediate: 0,
        delayed: u32::MAX,
        first_delay: CENTURY,
        max_delay: CENTURY,
        ..RetryPolicy::default()
    };
    settings
}

on_both_transports! {
    the_largest_settings_work,
    the_smallest_settings_work,
}
