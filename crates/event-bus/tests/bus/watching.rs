//! What waits in the tables is measured.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use event_bus::BusSettings;
use jiff::{Timestamp, ToSpan as _};
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::support::{BOUND, Effect, Ground, Placed, Running, quick};

/// The last value of each gauge.
#[derive(Clone, Default)]
struct Gauges(Arc<Mutex<BTreeMap<String, f64>>>);

impl Gauges {
    fn get(&self, name: &str) -> Option<f64> {
        let gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.get(name).copied()
    }
}

struct OfKey(String, Gauges);

impl GaugeFn for OfKey {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        let mut gauges = self.1.0.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.insert(self.0.clone(), value);
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(OfKey(key.name().to_owned(), self.clone())))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// On one thread, since the recorder is that thread's.
#[tokio::test]
async fn what_waits_is_measured_by_the_instance_that_leads() {
    let ground = Ground::in_memory().await;
    // Written before there is a relay that would take it away.
    let shop = Running::start(ground.participant("shop").await).await;
    let mut work = shop.bus.begin().await.expect("a unit of work");
    let tomorrow = Timestamp::now() + 24.hours();
    work.schedule(&Placed { order: 1 }, tomorrow)
        .expect("it is JSON");
    work.commit().await.expect("it is committed");
    shop.place([2, 3]).await;
    ground
        .expect_count("shop", "select count(*) from outbox_scheduled", 3)
        .await;
    shop.stop().await;
    let pool = ground.database.pool("shop").await;
    sqlx::raw_sql("insert into outbox (attributes, body) values ('{}', '')")
        .execute(&pool)
        .await
        .expect("it is JSON");

    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    let shop = Running::start(ground.participant("shop").await).await;
    for (name, value) in [
        ("event_bus.relay.leading", 1.0),
        ("event_bus.outbox.scheduled", 1.0),
        ("event_bus.outbox.unroutable", 2.0),
        ("event_bus.outbox.depth", 0.0),
        ("event_bus.outbox.refused", 1.0),
    ] {
        test_servers::eventually(name, BOUND, async || {
            (gauges.get(name) == Some(value)).then_some(())
        })
        .await;
    }
    shop.stop().await;
    assert_eq!(gauges.get("event_bus.relay.leading"), Some(0.0));
    assert_eq!(gauges.get("event_bus.outbox.unroutable"), Some(0.0));
}

/// On one thread, since the recorder is that thread's. A sum over instances of which none leads has
/// to be 0, not missing.
#[tokio::test]
async fn a_standby_reports_from_its_start_that_it_does_not_lead() {
    let ground = Ground::in_memory().await;
    let _leader = ground.lead_without_publishing("shop").await;
    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    let standby = Running::start(ground.participant("shop").await).await;
    test_servers::eventually("it is reported", BOUND, async || {
        (gauges.get("event_bus.relay.leading") == Some(0.0)).then_some(())
    })
    .await;
    standby.stop().await;
}

/// On one thread, since the recorder is that thread's.
#[tokio::test]
async fn a_paused_handler_shows() {
    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    let ground = Ground::in_memory().await;
    let fails = Effect {
        fails_at: Some(1),
        // In the batch, and then by itself.
        failures: 2,
        ..Effect::named("mail")
    };
    let mut settings = BusSettings {
        kill_switch: Some(event_bus::KillSwitch {
            window: 1,
            ..event_bus::KillSwitch::default()
        }),
        ..quick()
    };
    settings.retry.immediate = 0;
    let stock = ground.participant("stock").await.settings(settings);
    let _stock = Running::start(stock.handle::<Placed, _>(fails)).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    for value in [1.0, 0.0] {
        test_servers::eventually("it shows", BOUND, async || {
            (gauges.get("event_bus.handler.paused") == Some(value)).then_some(())
        })
        .await;
    }
    ground.expect_effects("stock", &[("mail", 1)]).await;
}
