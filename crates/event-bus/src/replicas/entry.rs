//! A replica with its store's type erased.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::filler::Filler;
use super::live;
use super::store::ReplicaStore;
use crate::bus::EventBus;
use crate::consumer_group::ConsumerGroup;
use crate::wake::WakeUp;

/// What a bus knows of a replica of its own.
#[derive(Debug)]
pub(crate) struct ReplicaState {
    pub(crate) name: &'static str,
    filled: AtomicBool,
    /// Rung when it is to be filled anew.
    pub(super) wanted: WakeUp,
}

impl ReplicaState {
    /// Whether it was filled when this instance last looked.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    pub(super) fn set_filled(&self, filled: bool) {
        self.filled.store(filled, Ordering::Release);
    }
}

/// A replica that will be filled once the bus runs.
pub(crate) struct ReplicaEntry {
    pub(crate) state: Arc<ReplicaState>,
    fill: Box<dyn FnOnce(EventBus, CancellationToken) -> BoxFuture<'static, ()> + Send>,
}

impl ReplicaEntry {
    /// The replica, and the group in which it hears of changes.
    pub(crate) fn new<S: ReplicaStore>(store: S) -> (Self, ConsumerGroup) {
        let store = Arc::new(store);
        let group = live::group(&store);
        let state = Arc::new(ReplicaState {
            name: S::NAME,
            filled: AtomicBool::new(false),
            wanted: WakeUp::default(),
        });
        let filled = state.clone();
        let fill = Box::new(move |bus, bound| -> BoxFuture<'static, ()> {
            let state = filled;
            let filler = Filler { bus, store, state };
            Box::pin(filler.run(bound))
        });
        (Self { state, fill }, group)
    }

    /// Fills it whenever it is not, and never ends.
    pub(crate) async fn fill(self, bus: EventBus, bound: CancellationToken) {
        (self.fill)(bus, bound).await;
    }
}

impl fmt::Debug for ReplicaEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplicaEntry({})", self.state.name)
    }
}
