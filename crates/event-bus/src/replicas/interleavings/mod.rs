//! Random interleavings of pages, events, losses and fillings, against what the owner has.

mod world;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use test_servers::TestDatabase;

use self::world::World;

/// Ids of items are below this: few, so that what happens meets.
const ITEMS: u128 = 5;

#[derive(Debug, Clone)]
enum Act {
    /// The owner creates or changes the item, and may keep silent about it.
    Change { item: u128, silently: bool },
    /// The owner deletes the item; some owners count that as a version, and some don't.
    Delete {
        item: u128,
        silently: bool,
        counts: bool,
    },
    /// One of the events that are on their way arrives, and may arrive again later.
    Deliver {
        which: prop::sample::Index,
        again: bool,
    },
    /// The owner reads a page.
    Read { most: usize },
    /// The page that was read is applied.
    Apply,
    /// The replica is to be filled anew.
    Refill,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let silently = || prop::bool::weighted(0.2);
    let act = prop_oneof![
        6 => (0..ITEMS, silently()).prop_map(|(item, silently)| Act::Change { item, silently }),
        2 => (0..ITEMS, silently(), any::<bool>())
            .prop_map(|(item, silently, counts)| Act::Delete { item, silently, counts }),
        6 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, again)| Act::Deliver { which, again }),
        4 => (1..4_usize).prop_map(|most| Act::Read { most }),
        4 => Just(Act::Apply),
        1 => Just(Act::Refill),
    ];
    prop::collection::vec(act, 1..60)
}

#[test]
fn however_pages_and_events_interleave_the_replica_ends_as_its_owner() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let database = runtime.block_on(TestDatabase::create(&["shop"]));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let told = runner.run(&(acts(), any::<bool>()), |(acts, first_the_events)| {
        runtime.block_on(async {
            let mut world = World::begin(&database).await;
            for act in acts {
                world.take(act).await;
            }
            world.end(first_the_events).await;
        });
        Ok(())
    });
    let _in_it = runtime.enter();
    drop(database);
    told.unwrap_or_else(|error| panic!("{error}"));
}
