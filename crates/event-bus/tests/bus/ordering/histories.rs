//! Random histories of publishing and failing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Follow, expect_followed, follower, publish, steps_table};
use crate::support::{Ground, Running};

/// What is published when, and at which steps its handler fails how often.
#[derive(Debug, Clone)]
struct History {
    partitions: u16,
    replicas: usize,
    commits: Vec<Vec<usize>>,
    failures: Vec<(usize, i64, u32)>,
}

fn histories() -> impl Strategy<Value = History> {
    let commits = prop::collection::vec(prop::collection::vec(0..5_usize, 1..12), 1..8);
    let failures = prop::collection::vec((0..5_usize, 1..10_i64, 1..5_u32), 0..6);
    (1..=4_u16, 1..=2_usize, commits, failures).prop_map(
        |(partitions, replicas, commits, failures)| History {
            partitions,
            replicas,
            commits,
            failures,
        },
    )
}

async fn play(ground: &Ground, history: &History) {
    steps_table(ground).await;
    let key = |number: usize| format!("key-{number}");
    let mut follow = Follow::default();
    for (of, step, times) in &history.failures {
        follow = follow.failing(&key(*of), *step, *times);
    }
    let mut replicas = Vec::new();
    for _ in 0..history.replicas {
        replicas.push(follower(ground, follow.clone(), history.partitions).await);
    }
    let shop = Running::start(ground.participant("shop").await).await;
    let mut expected: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for commit in &history.commits {
        let moves: Vec<_> = commit
            .iter()
            .map(|of| {
                let steps = expected.entry(key(*of)).or_default();
                let step = i64::try_from(steps.len()).expect("few steps") + 1;
                steps.push(step);
                (key(*of), step)
            })
            .collect();
        publish(&shop.bus, moves).await;
    }
    expect_followed(ground, &expected).await;
    for replica in replicas {
        replica.stop().await;
    }
    shop.stop().await;
}

#[test]
fn every_history_is_followed_key_by_key_in_its_order() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = Config {
        cases: 12,
        max_shrink_iters: 20,
        ..Config::default()
    };
    let played = TestRunner::new(config).run(&histories(), |history| {
        runtime.block_on(async {
            play(&Ground::in_memory().await, &history).await;
        });
        Ok(())
    });
    played.expect("no history is followed out of order");
}
