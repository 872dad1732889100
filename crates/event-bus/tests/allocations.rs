//! A gate for the cost of the hot paths that a busy machine can't trip: not how long a message
//! takes is bounded, but how much is allocated for it.
//!
//! Each path is run with some messages and with twice as many. The difference is what the messages
//! cost, without what is there however many they are. What goes on beside it can only add to a
//! count, so of several rounds the least one is taken.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]
#![expect(
    clippy::print_stdout,
    reason = "who sets a bound wants to see what was measured"
)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_bus::transport::{Settlement, Transport as _};
use event_bus::{
    BatchHandler, BusSettings, Envelope, Event, EventBus, HandlerError, InMemory, Lineage, Message,
    Received, TraceContext, UnitOfWork,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use test_servers::TestDatabase;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The most that a path may allocate for one message, in the profile that tests are built with.
///
/// Of blocks it is the most that was measured and half a block more, so that a single new one for
/// each message is noticed. Of bytes it is a tenth more, for a copy need not be a new block; a
/// quarter where buffers grow with the set, since they grow in leaps.
struct Bound {
    path: &'static str,
    blocks: f64,
    bytes: f64,
}

/// Measured: 7.00 blocks, 520 bytes, the same each time.
const ENCODE: Bound = Bound {
    path: "encoding an event",
    blocks: 7.5,
    bytes: 570.0,
};

/// Measured: 8.03 blocks, 3181 bytes, the same each time. Encoding is part of it.
const PUBLISH: Bound = Bound {
    path: "publishing on a unit of work and committing it",
    blocks: 8.5,
    bytes: 3980.0,
};

/// Measured: 8.53 to 8.66 blocks, 1744 to 1797 bytes, on an idle machine as on a busy one. The
/// transport in memory is part of it; how the database's answers arrive makes the difference.
const DISPATCH: Bound = Bound {
    path: "dispatching a batch",
    blocks: 9.2,
    bytes: 2250.0,
};

const ROUNDS: usize = 10;
const MESSAGES_A_COMMIT: usize = 100;
/// Work that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(30);

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Held by the test that counts: what others in this process allocate would be counted, too.
static COUNTING: Mutex<()> = Mutex::new(());

/// What was allocated since the counting began, or in between.
#[derive(Clone, Copy)]
struct Allocated {
    blocks: u64,
    bytes: u64,
}

impl Allocated {
    fn so_far() -> Self {
        let stats = dhat::HeapStats::get();
        Self {
            blocks: stats.total_blocks,
            bytes: stats.total_bytes,
        }
    }

    fn since(before: Self) -> Self {
        let now = Self::so_far();
        Self {
            blocks: now.blocks - before.blocks,
            bytes: now.bytes - before.bytes,
        }
    }

    fn or_less(self, other: Self) -> Self {
        Self {
            blocks: self.blocks.min(other.blocks),
            bytes: self.bytes.min(other.bytes),
        }
    }
}

impl Bound {
    /// Holds if `run`, which works on as many messages as it is told, keeps to it.
    async fn hold(&self, messages: usize, mut run: impl AsyncFnMut(usize) -> Allocated) {
        let (mut once, mut twice) = (run(messages).await, run(2 * messages).await);
        for _ in 1..ROUNDS {
            once = once.or_less(run(messages).await);
            twice = twice.or_less(run(2 * messages).await);
        }
        let each = |once: u64, twice: u64| (twice as f64 - once as f64) / messages as f64;
        let (path, blocks) = (self.path, each(once.blocks, twice.blocks));
        let bytes = each(once.bytes, twice.bytes);
        println!("{path}: {blocks:.2} blocks, {bytes:.0} bytes a message");
        assert!(
            blocks <= self.blocks && bytes <= self.bytes,
            "{path} allocates {blocks:.2} blocks and {bytes:.0} bytes for each message. At most {} \
             and {} may be: that is {:+.2} blocks and {:+.0} bytes. Find out what is new by running \
             it under `dhat::Profiler::new_heap()`, which writes down who allocates. If it is worth \
             its price, raise the bound, and say so in the commit.",
            self.blocks,
            self.bytes,
            blocks - self.blocks,
            bytes - self.bytes,
        );
    }
}

/// Counts while the test runs, on this thread alone, and no other test meanwhile.
fn counted(test: impl Future<Output = ()>) {
    let _alone = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let _profiler = dhat::Profiler::builder().testing().build();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}

/// An event as the shop's are: some ids, a name, a number, and a key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Placed {
    order_id: Uuid,
    product_id: Uuid,
    customer_name: String,
    quantity: u32,
}

impl Message for Placed {
    type Kind = Event;
    const NAME: &'static str = "shop.order.placed";
    const MUST_BE_HEARD: bool = true;

    fn partition_key(&self) -> Option<String> {
        Some(self.order_id.to_string())
    }
}

impl Placed {
    fn some(messages: usize) -> Vec<Self> {
        let placed = |_| Self {
            order_id: Uuid::now_v7(),
            product_id: Uuid::now_v7(),
            customer_name: "Ada Lovelace".to_owned(),
            quantity: 3,
        };
        (0..messages).map(placed).collect()
    }
}

/// The beginning of a chain, in a trace, as it is where traces are recorded.
fn traced() -> Lineage {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    Lineage {
        trace: TraceContext {
            traceparent: Some(traceparent.to_owned()),
            tracestate: None,
        },
        ..Lineage::begin()
    }
}

fn sealed(messages: usize) -> Vec<Envelope> {
    let lineage = traced();
    let seal = |event| Envelope::encode("shop", lineage.clone(), &event).expect("it is JSON");
    Placed::some(messages).into_iter().map(seal).collect()
}

/// A handler that does nothing but count, so that the bus's own work is what is left.
#[derive(Clone)]
struct Handled(Arc<Semaphore>);

impl Handled {
    fn none_yet() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Waits for so many messages more.
    async fn wait_for(&self, messages: usize) {
        let messages = u32::try_from(messages).expect("a few");
        let all = tokio::time::timeout(LONGEST, self.0.acquire_many(messages));
        let all = all.await.expect("all are handled in time");
        all.expect("it is never closed").forget();
    }
}

impl BatchHandler<Placed> for Handled {
    async fn handle(
        &self,
        messages: Vec<Received<Placed>>,
        _work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.0.add_permits(messages.len());
        Ok(())
    }
}

/// A bus on the tables of the bus alone.
struct Ground {
    pool: PgPool,
    _database: TestDatabase,
}

impl Ground {
    async fn create() -> Self {
        let database = TestDatabase::create(&["shop"]).await;
        let pool = database.pool("shop").await;
        event_bus::migrate(&pool).await.expect("the bus's tables");
        Self {
            pool,
            _database: database,
        }
    }

    async fn start(&self, transport: InMemory, handled: &Handled) -> Shop {
        let shutdown = CancellationToken::new();
        let bus = EventBus::builder("shop", self.pool.clone(), transport)
            .settings(BusSettings {
                // Nothing gets lost here, and each look would be counted.
                poll_interval: Duration::from_secs(3600),
                // With one, each batch is finished before the next one is begun.
                workers: 1,
                ..BusSettings::default()
            })
            .handle_batch::<Placed, _>(handled.clone())
            .start(shutdown.clone())
            .await
            .expect("it starts");
        Shop { bus, shutdown }
    }
}

/// A running bus.
struct Shop {
    bus: EventBus,
    shutdown: CancellationToken,
}

impl Shop {
    async fn publish(&self, events: &[Placed]) {
        let mut work = self.bus.begin().await.expect("a unit of work");
        work.inherit(traced());
        for event in events {
            work.publish(event).expect("it is JSON");
        }
        work.commit().await.expect("it is committed");
    }

    /// Ends when everything that was handled is committed and acknowledged.
    async fn stop(&self) {
        self.shutdown.cancel();
        let stopped = tokio::time::timeout(LONGEST, self.bus.stopped());
        stopped.await.expect("it stops in time");
    }
}

#[test]
fn encoding_an_event_allocates_no_more_than_its_bound() {
    counted(ENCODE.hold(100, async |messages| {
        let (events, lineage) = (Placed::some(messages), traced());
        let before = Allocated::so_far();
        for event in &events {
            Envelope::encode("shop", lineage.clone(), event).expect("it is JSON");
        }
        Allocated::since(before)
    }));
}

#[test]
fn publishing_and_committing_allocates_no_more_than_its_bound() {
    counted(async {
        let ground = Ground::create().await;
        let shop = ground.start(InMemory::new(), &Handled::none_yet()).await;
        // Its relay would read back what is published, and be counted. Units of work go on.
        shop.stop().await;
        PUBLISH
            .hold(MESSAGES_A_COMMIT, async |messages| {
                let events = Placed::some(messages);
                let before = Allocated::so_far();
                shop.publish(&events).await;
                Allocated::since(before)
            })
            .await;
    });
}

#[test]
fn dispatching_a_batch_allocates_no_more_than_its_bound() {
    counted(async {
        let ground = Ground::create().await;
        let (transport, handled) = (InMemory::new(), Handled::none_yet());
        let shop = ground.start(transport.clone(), &handled).await;
        let deliver = async |sealed: Vec<Envelope>| {
            let messages = sealed.len();
            let settled = transport.publish(sealed).await.await;
            assert!(settled.iter().all(|one| *one == Settlement::Confirmed));
            handled.wait_for(messages).await;
        };
        DISPATCH
            .hold(BusSettings::default().batch, async |messages| {
                let (sealed, one_more) = (sealed(messages), sealed(1));
                let before = Allocated::so_far();
                deliver(sealed).await;
                // The one worker comes to it when it has committed and acknowledged the others.
                deliver(one_more).await;
                Allocated::since(before)
            })
            .await;
        shop.stop().await;
    });
}
