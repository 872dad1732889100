//! The test kit without a database: what its users may rely on.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_bus::testing::{self, TestBus};
use event_bus::{DynamicHandler, Handler, HandlerError, Received, UnitOfWork};
use jiff::Timestamp;
use uuid::Uuid;

use crate::support::{BOUND, Effect, Placed, Release, Reserved};

/// Reserves; of an odd order it schedules the release.
struct Reserve;

impl Handler<Placed> for Reserve {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let order = placed.order;
        work.publish(&Reserved { order })?;
        if order % 2 == 1 {
            let minute = Timestamp::now() + Duration::from_secs(60);
            work.schedule(&Release { order }, minute)?;
        }
        Ok(())
    }
}

/// Publishes, and then fails so often.
#[derive(Clone, Default)]
struct Flaky {
    failures: u32,
    rejects: bool,
    attempts: Arc<AtomicU32>,
}

impl Handler<Placed> for Flaky {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let order = placed.order;
        work.publish(&Reserved { order })?;
        self.attempts.fetch_add(1, Ordering::SeqCst);
        match (placed.attempt() <= self.failures, self.rejects) {
            (false, _) => Ok(()),
            (true, false) => Err(HandlerError::retry("told to fail")),
            (true, true) => Err(HandlerError::reject("told to reject")),
        }
    }
}

/// Places the order again that was reserved.
struct Again;

impl Handler<Reserved> for Again {
    async fn handle(
        &self,
        reserved: Received<Reserved>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let order = reserved.order;
        Ok(work.publish(&Placed { order })?)
    }
}

#[derive(Clone, Default)]
struct Audit(Arc<AtomicU32>);

impl DynamicHandler for Audit {
    async fn handle(
        &self,
        _: Received<serde_json::Value>,
        _: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Counted(Arc<AtomicU32>);

impl Handler<Release> for Counted {
    async fn handle(&self, _: Received<Release>, _: &mut UnitOfWork) -> Result<(), HandlerError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn a_handler_by_itself_shows_what_it_did() {
    let even = testing::handle(&Reserve, Placed { order: 2 }).await;
    let even = even.expect("it is handled");
    assert_eq!(even.published::<Reserved>(), [Reserved { order: 2 }]);
    assert_eq!(even.names(), ["stock.reserved"]);

    let odd = testing::handle(&Reserve, Placed { order: 3 }).await;
    let odd = odd.expect("it is handled");
    let [(at, release)] = &odd.scheduled::<Release>()[..] else {
        panic!("one is scheduled: {odd:?}");
    };
    assert_eq!(*release, Release { order: 3 });
    assert!(*at > Timestamp::now());

    let flaky = Flaky {
        failures: 1,
        ..Flaky::default()
    };
    let failed = testing::handle(&flaky, Placed { order: 4 }).await;
    assert!(failed.is_err());
}

#[tokio::test]
async fn services_hear_of_each_other_in_order() {
    let (audit, released) = (Audit::default(), Counted::default());
    let bus = TestBus::builder("shop")
        .handle_dynamic("stock.#", audit.clone())
        .participant("stock")
        .handle::<Placed, _>(Reserve)
        .handle::<Release, _>(released.clone())
        .start();
    for order in [2, 4, 6] {
        bus.publish(&Placed { order });
    }
    assert_eq!(bus.published::<Reserved>(), []);
    bus.wait_until_idle(BOUND).await;
    let reserved = [2, 4, 6].map(|order| Reserved { order });
    assert_eq!(bus.published::<Reserved>(), reserved);
    assert_eq!(audit.0.load(Ordering::SeqCst), 3);

    bus.send(&Release { order: 2 });
    bus.wait_until_idle(BOUND).await;
    assert_eq!(released.0.load(Ordering::SeqCst), 1);
    assert_eq!(bus.failures(), []);
}

#[tokio::test]
async fn what_is_scheduled_waits_for_the_clock() {
    let released = Counted::default();
    let bus = TestBus::builder("stock")
        .handle::<Placed, _>(Reserve)
        .handle::<Release, _>(released.clone())
        .start();
    bus.publish(&Placed { order: 1 });
    bus.wait_until_idle(BOUND).await;
    assert_eq!(bus.scheduled::<Release>().len(), 1);
    for (seconds, expected) in [(30, 0), (31, 1), (100, 1)] {
        bus.advance(Duration::from_secs(seconds));
        bus.wait_until_idle(BOUND).await;
        assert_eq!(released.0.load(Ordering::SeqCst), expected);
    }
    assert_eq!(bus.published::<Release>(), [Release { order: 1 }]);
}

/// Takes its reservation's release back, of which it was told.
struct Keep(Arc<Mutex<Option<Uuid>>>);

impl Handler<Placed> for Keep {
    async fn handle(&self, _: Received<Placed>, work: &mut UnitOfWork) -> Result<(), HandlerError> {
        let minute = Timestamp::now() + Duration::from_secs(60);
        let id = work.schedule(&Release { order: 1 }, minute)?;
        *self.0.lock().expect("it is not poisoned") = Some(id);
        Ok(())
    }
}

impl Handler<Reserved> for Keep {
    async fn handle(
        &self,
        _: Received<Reserved>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let id = self.0.lock().expect("it is not poisoned").expect("placed");
        assert!(work.cancel_scheduled(id).await?);
        assert!(!work.cancel_scheduled(id).await?);
        Ok(())
    }
}

#[tokio::test]
async fn what_is_scheduled_can_be_cancelled_by_another_handler() {
    let id = Arc::new(Mutex::new(None));
    let bus = TestBus::builder("stock")
        .handle::<Placed, _>(Keep(id.clone()))
        .handle::<Reserved, _>(Keep(id))
        .start();
    bus.publish(&Placed { order: 1 });
    bus.wait_until_idle(BOUND).await;
    assert_eq!(bus.scheduled::<Release>().len(), 1);
    bus.publish(&Reserved { order: 1 });
    bus.wait_until_idle(BOUND).await;
    assert_eq!(bus.scheduled::<Release>().len(), 0);
    bus.advance(Duration::from_secs(100));
    assert_eq!(bus.published::<Release>(), []);
    assert_eq!(bus.failures(), []);
}

#[tokio::test]
async fn a_failure_is_tried_again_and_then_shown_and_what_it_published_is_dropped() {
    for (flaky, attempts, fails) in [(2, 3, false), (3, 3, true)] {
        let flaky = Flaky {
            failures: flaky,
            ..Flaky::default()
        };
        let bus = TestBus::builder("stock");
        let bus = bus.handle::<Placed, _>(flaky.clone()).start();
        bus.publish(&Placed { order: 1 });
        bus.wait_until_idle(BOUND).await;
        assert_eq!(flaky.attempts.load(Ordering::SeqCst), attempts);
        assert_eq!(bus.published::<Reserved>().len(), usize::from(!fails));
        assert_eq!(bus.failures().len(), usize::from(fails));
    }
    let rejecting = Flaky {
        failures: 1,
        rejects: true,
        ..Flaky::default()
    };
    let bus = TestBus::builder("stock");
    let bus = bus.handle::<Placed, _>(rejecting).start();
    bus.publish(&Placed { order: 1 });
    bus.wait_until_idle(BOUND).await;
    let [failure] = &bus.failures()[..] else {
        panic!("one handler fails");
    };
    assert_eq!((failure.handler, failure.attempts), ("Flaky", 1));
    assert_eq!(failure.reason, "told to reject");
    assert_eq!(
        (&*failure.service, &*failure.message),
        ("stock", "shop.order.placed")
    );
}

#[tokio::test]
async fn sql_without_a_database_says_what_to_do() {
    let bus = TestBus::builder("stock");
    let bus = bus.handle::<Placed, _>(Effect::named("reserve")).start();
    bus.publish(&Placed { order: 1 });
    bus.wait_until_idle(BOUND).await;
    let reason = &bus.failures()[0].reason;
    assert!(reason.contains("has no database"), "{reason}");
    assert!(reason.contains("TestTransport"), "{reason}");
}

#[tokio::test]
#[should_panic(expected = "the bus is not idle after 200ms, with `")]
async fn messages_that_lead_to_each_other_without_end_are_noticed() {
    let bus = TestBus::builder("stock")
        .handle::<Placed, _>(Reserve)
        .handle::<Reserved, _>(Again)
        .start();
    bus.publish(&Placed { order: 2 });
    bus.wait_until_idle(Duration::from_millis(200)).await;
}
