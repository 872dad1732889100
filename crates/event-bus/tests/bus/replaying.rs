//! Random histories of failing, replaying, discarding, restarting and lost connections: whatever
//! the order, each message has its one effect, or none if it was discarded.

use std::collections::BTreeMap;

use event_bus::dead_letters::{BulkMode, DeadLetters, ReplayOutcome};
use proptest::prelude::*;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::dead_letters::{ALL, Mendable};
use crate::support::{BOUND, Ground, Placed, Running};

/// Something that happens to a service of two instances.
#[derive(Debug, Clone)]
enum Step {
    Place,
    /// From here on the handler rejects, or does not.
    Break,
    Mend,
    /// One letter, by both instances.
    Replay(prop::sample::Index),
    ReplayAll,
    Discard(prop::sample::Index),
    /// While a replay of all letters runs.
    LoseConnections,
    Restart(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Place),
        1 => Just(Step::Break),
        1 => Just(Step::Mend),
        4 => any::<prop::sample::Index>().prop_map(Step::Replay),
        2 => Just(Step::ReplayAll),
        2 => any::<prop::sample::Index>().prop_map(Step::Discard),
        1 => Just(Step::LoseConnections),
        1 => any::<bool>().prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 10..40)
}

/// What is to become of an order, as far as the operators were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Handled,
    Discarded,
    /// The connection was lost before the answer to a discard.
    Unknown,
}

struct World {
    ground: Ground,
    handler: Mendable,
    instances: [Running; 2],
    shop: Running,
    orders: BTreeMap<i64, Fate>,
    /// What goes on beside the steps.
    operators: JoinSet<()>,
}

impl World {
    async fn begin() -> Self {
        let ground = Ground::in_memory().await;
        let handler = Mendable::named("reserve");
        Self {
            instances: [
                instance(&ground, &handler).await,
                instance(&ground, &handler).await,
            ],
            shop: Running::start(ground.participant("shop").await).await,
            ground,
            handler,
            orders: BTreeMap::new(),
            operators: JoinSet::new(),
        }
    }

    fn letters(&self, of: usize) -> DeadLetters {
        self.instances[of].bus.dead_letters()
    }

    /// One of the letters that are there now, and its order.
    async fn pick(&self, index: prop::sample::Index) -> Option<(Uuid, i64)> {
        let letters = self.letters(0).list(&ALL, None, 1000).await.ok()?;
        if letters.is_empty() {
            return None;
        }
        let id = index.get(&letters).id;
        let details = self.letters(0).show(id).await.ok()??;
        let body: serde_json::Value = serde_json::from_slice(&details.body).expect("it is JSON");
        Some((id, body["order"].as_i64().expect("an order")))
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Place => {
                let orders = self.orders.len()..self.orders.len() + 5;
                let orders: Vec<_> = orders.map(|n| u32::try_from(n).expect("a few")).collect();
                let placed = || orders.iter().copied();
                test_servers::eventually("they are placed", BOUND, async || {
                    let mut work = self.shop.bus.begin().await.ok()?;
                    for order in placed() {
                        work.publish(&Placed { order }).ok()?;
                    }
                    work.commit().await.ok()
                })
                .await;
                self.orders
                    .extend(placed().map(|order| (order.into(), Fate::Handled)));
            }
            Step::Break => self.handler.set_mended(false),
            Step::Mend => self.handler.set_mended(true),
            Step::Replay(index) => {
                let Some((id, _)) = self.pick(index).await else {
                    return;
                };
                for of in [0, 1] {
                    let letters = self.letters(of);
                    self.operators.spawn(async move {
                        let outcome = letters.replay(id).await;
                        let possible = [ReplayOutcome::Replayed, ReplayOutcome::NotFound];
                        assert!(outcome.is_err() || outcome.is_ok_and(|o| possible.contains(&o)));
                    });
                }
            }
            Step::ReplayAll => self.replay_all(),
            Step::Discard(index) => {
                if let Some((id, order)) = self.pick(index).await {
                    match self.letters(1).discard(id).await {
                        Ok(true) => self.orders.insert(order, Fate::Discarded),
                        Ok(false) => None,
                        Err(_) => self.orders.insert(order, Fate::Unknown),
                    };
                }
            }
            Step::LoseConnections => {
                self.replay_all();
                self.ground.database.close_connections().await;
            }
            Step::Restart(first) => {
                let new = instance(&self.ground, &self.handler).await;
                let old = std::mem::replace(&mut self.instances[usize::from(first)], new);
                old.stop().await;
            }
        }
    }

    fn replay_all(&mut self) {
        for of in [0, 1] {
            let letters = self.letters(of);
            self.operators.spawn(async move {
                // Of an error, the next one does the rest.
                let _ = letters.replay_all(&ALL, BulkMode::Apply).await;
            });
        }
    }

    /// Replays until nothing is left, and compares.
    async fn end(mut self) {
        self.handler.set_mended(true);
        while let Some(ended) = self.operators.join_next().await {
            ended.expect("no operator panics");
        }
        let pool = self.ground.database.pool("stock").await;
        let certain = self
            .orders
            .values()
            .filter(|f| **f == Fate::Handled)
            .count();
        test_servers::eventually("all is handled or discarded", BOUND, async || {
            let report = self.letters(0).replay_all(&ALL, BulkMode::Apply).await;
            let waiting = "select (select count(*) from inbox_retries)
                                + (select count(*) from dead_letters)";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&pool).await.ok()?;
            let effects = self.ground.effects("stock").await;
            (report.is_ok() && waiting == 0 && effects.len() >= certain).then_some(())
        })
        .await;
        let mut effects: BTreeMap<i64, u32> = BTreeMap::new();
        for (_, order) in self.ground.effects("stock").await {
            *effects.entry(order).or_default() += 1;
        }
        for (order, fate) in &self.orders {
            let effects = effects.get(order).copied().unwrap_or_default();
            let as_told = match fate {
                Fate::Handled => effects == 1,
                Fate::Discarded => effects == 0,
                Fate::Unknown => effects <= 1,
            };
            assert!(as_told, "order {order}: {fate:?}, and {effects} effects");
        }
    }
}

async fn instance(ground: &Ground, handler: &Mendable) -> Running {
    let stock = ground.participant("stock").await;
    Running::start(stock.handle::<Placed, _>(handler.clone())).await
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        // A history that fails has waited in vain: the first one is told, not a shorter one.
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_operators_do_each_message_has_its_effect_once_or_is_discarded(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut world = World::begin().await;
            for step in steps {
                world.take(step).await;
            }
            world.end().await;
        });
    }
}
