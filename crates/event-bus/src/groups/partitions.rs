//! Spreads the partitions of an ordered group over the instances of its service.
//!
//! Each instance says every second that it is here, and takes its share of the partitions: the
//! instances stand in the order in which they came, and partition `i` is for number `i mod n`. The
//! list is only advice, for an even spread. That a partition has one consumer at a time, and that
//! the next one begins with what the last one did not acknowledge, is the transport's promise.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ActiveGroup, members};
use crate::partition::Partition;
use crate::transport::{Group, Transport};

const RENEW_INTERVAL: Duration = Duration::from_secs(1);
/// An instance that has not been seen for so long is gone, and one that could not say that it is
/// here for so long gives its partitions back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Works on this instance's share of the partitions until stopped.
pub(super) async fn run(
    pool: PgPool,
    transport: Arc<dyn Transport>,
    active: Arc<ActiveGroup>,
    partitions: u16,
    stop: CancellationToken,
) {
    let mut share = Share {
        member: Uuid::now_v7(),
        pool,
        transport,
        active,
        partitions,
        workers: JoinSet::new(),
        held: BTreeMap::new(),
    };
    let mut renewed_at = Instant::now();
    while !stop.is_cancelled() {
        match share.renew().await {
            Ok(mine) => {
                renewed_at = Instant::now();
                share.hold(&mine, &stop).await;
            }
            Err(error) if renewed_at.elapsed() < PATIENCE => {
                tracing::debug!(%error, "can't renew the membership of a group");
            }
            Err(_) => share.hold(&[], &stop).await,
        }
        stop.run_until_cancelled(tokio::time::sleep(RENEW_INTERVAL))
            .await;
    }
    share.give_up().await;
}

struct Share {
    member: Uuid,
    pool: PgPool,
    transport: Arc<dyn Transport>,
    active: Arc<ActiveGroup>,
    partitions: u16,
    workers: JoinSet<u16>,
    /// How to stop working on the partitions at hand.
    held: BTreeMap<u16, CancellationToken>,
}

impl Share {
    fn group(&self) -> &Group {
        &self.active.group
    }

    /// Says that this instance is here. Returns the partitions that are for it.
    async fn renew(&self) -> Result<Vec<u16>, sqlx::Error> {
        let group = &self.group().name;
        let members = members::renew(&self.pool, group, self.member, PATIENCE).await?;
        let rank = members.iter().position(|member| *member == self.member);
        let is_mine = |partition: &u16| rank == Some(usize::from(*partition) % members.len());
        Ok((0..self.partitions).filter(is_mine).collect())
    }

    /// Works on these partitions and no others.
    async fn hold(&mut self, mine: &[u16], stop: &CancellationToken) {
        while let Some(ended) = self.workers.try_join_next() {
            // One that panicked is begun anew like one that ended.
            if let Ok(partition) = ended {
                self.held.remove(&partition);
            }
        }
        for (partition, worker) in &self.held {
            if !mine.contains(partition) {
                worker.cancel();
            }
        }
        for &index in mine {
            if let Entry::Vacant(vacant) = self.held.entry(index) {
                let worker = vacant.insert(stop.child_token()).clone();
                self.work_on(index, worker).await;
            }
        }
        if mine.is_empty() {
            // The others have bound the group.
            self.active.bound.cancel();
        }
    }

    async fn work_on(&mut self, index: u16, stop: CancellationToken) {
        let of = self.partitions;
        let group = Group {
            partition: Some(Partition { index, of }),
            ..self.group().clone()
        };
        let subscription = self.transport.subscribe(group).await;
        let (bound, active) = (subscription.bound(), self.active.clone());
        self.workers.spawn(async move {
            let work = active
                .dispatcher
                .clone()
                .run(Arc::new(Mutex::new(subscription)), stop);
            let tell = async {
                bound.cancelled().await;
                active.bound.cancel();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = work => {}
                () = tell => {}
            }
            index
        });
    }

    /// Finishes what is under way and leaves the group to the others.
    async fn give_up(mut self) {
        for worker in self.held.values() {
            worker.cancel();
        }
        while self.workers.join_next().await.is_some() {}
        let group = self.active.group.name.clone();
        if let Err(error) = members::leave(&self.pool, &group, self.member).await {
            tracing::debug!(%error, "could not leave a group; the others will notice");
        }
    }
}
