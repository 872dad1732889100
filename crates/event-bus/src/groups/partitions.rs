//! Spreads the partitions of an ordered group over the instances of its service.
//!
//! Each instance says every second that it is here, and takes its share of the partitions: the
//! instances stand in the order in which they came, and partition `i` is for number `i mod n`. The
//! list is only advice, for an even spread. That a partition has one consumer at a time, and that
//! the next one begins with what the last one did not acknowledge, is the transport's promise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use uuid::Uuid;

use super::{ActiveGroup, Groups, members};
use crate::partition::Partition;
use crate::sessions;
use crate::transport::Group;

const RENEW_INTERVAL: Duration = Duration::from_secs(1);
/// An instance that has not been seen for so long is gone, and one that could not say that it is
/// here for so long gives its partitions back.
const PATIENCE: Duration = Duration::from_secs(5);

/// This instance's share of the partitions of a group.
pub(super) struct Share {
    member: Uuid,
    groups: Arc<Groups>,
    active: Arc<ActiveGroup>,
    partitions: u16,
    workers: TaskTracker,
    held: BTreeMap<u16, Worker>,
}

/// Who works on a partition. Dropping it ends the work where it stands.
struct Worker {
    /// Ends the work after the batch at hand.
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Share {
    pub(super) fn new(groups: &Arc<Groups>, active: Arc<ActiveGroup>, partitions: u16) -> Self {
        Self {
            member: Uuid::now_v7(),
            groups: groups.clone(),
            active,
            partitions,
            workers: TaskTracker::new(),
            held: BTreeMap::new(),
        }
    }

    /// Works on the share until stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let groups = self.groups.clone();
        let registered = groups.presence.registered.cancelled();
        stop.run_until_cancelled(registered).await;
        let mut renewed_at = Instant::now();
        let mut was_connected = true;
        while !stop.is_cancelled() {
            let is_connected = groups.transport.connected();
            let renewed = match is_connected || was_connected {
                true => self.renew().await.map(Some),
                // Without the broker it can't work on its share: the others take it. It stays where
                // it is, since it consumes again as soon as it is connected.
                false => self.leave().await.map(|()| None),
            };
            was_connected = is_connected;
            match renewed {
                Ok(None) => renewed_at = Instant::now(),
                Ok(Some(mine)) => {
                    renewed_at = Instant::now();
                    self.hold(&mine, &stop).await;
                    if mine.is_empty() && groups.presence.swept.is_cancelled() {
                        // The others, who have all partitions, have bound the group.
                        self.active.bound.cancel();
                    }
                }
                Err(error) if renewed_at.elapsed() < PATIENCE => {
                    tracing::debug!(%error, "can't renew the membership of a group");
                }
                Err(_) => self.hold(&[], &stop).await,
            }
            stop.run_until_cancelled(tokio::time::sleep(RENEW_INTERVAL))
                .await;
        }
        self.give_up().await;
    }

    fn group(&self) -> &Group {
        &self.active.group
    }

    /// Says that this instance is here. Returns the partitions that are for it.
    async fn renew(&self) -> Result<Vec<u16>, sqlx::Error> {
        let group = &self.group().name;
        let members = sessions::transact!(&self.groups.pool, |connection| members::renew(
            connection,
            group,
            self.member,
            PATIENCE
        ))?;
        let rank = members.iter().position(|member| *member == self.member);
        let is_mine = |partition: &u16| rank == Some(usize::from(*partition) % members.len());
        Ok((0..self.partitions).filter(is_mine).collect())
    }

    async fn leave(&self) -> Result<(), sqlx::Error> {
        let group = &self.group().name;
        sessions::transact!(&self.groups.pool, |connection| members::leave(
            connection,
            group,
            self.member
        ))
    }

    /// Works on these partitions and no others.
    async fn hold(&mut self, mine: &[u16], stop: &CancellationToken) {
        // One that was stopped has ended by now, or will have the next time.
        self.held.retain(|_, worker| !worker.task.is_finished());
        for (partition, worker) in &self.held {
            if !mine.contains(partition) {
                worker.stop.cancel();
            }
        }
        for &index in mine {
            if !self.held.contains_key(&index) {
                let worker = self.work_on(index, stop.child_token()).await;
                self.held.insert(index, worker);
            }
        }
    }

    async fn work_on(&self, index: u16, stop: CancellationToken) -> Worker {
        let of = self.partitions;
        let mut group = Group {
            partition: Some(Partition { index, of }),
            ..self.group().clone()
        };
        if self.active.withdrawn.load(Ordering::Relaxed) {
            group.bindings.clear();
        }
        let subscription = self.groups.transport.subscribe(group).await;
        let (bound, active) = (subscription.bound(), self.active.clone());
        let dispatcher = active.dispatcher.clone();
        let work = dispatcher.run(Arc::new(Mutex::new(subscription)), stop.clone());
        let swept = self.groups.presence.swept.clone();
        let announce = async move {
            bound.cancelled().await;
            swept.cancelled().await;
            active.bound.cancel();
            std::future::pending::<()>().await;
        };
        let task = self.workers.spawn(async {
            tokio::select! {
                () = work => {}
                () = announce => {}
            }
        });
        Worker {
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Finishes what is under way and leaves the group to the others.
    async fn give_up(self) {
        for worker in self.held.values() {
            worker.stop.cancel();
        }
        self.workers.close();
        self.workers.wait().await;
        if let Err(error) = self.leave().await {
            tracing::debug!(%error, "could not leave a group; the others will notice");
        }
    }
}
