//! The bell between a commit and the relay.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes one waiting task, or the next one to wait. Ringing often before it looks wakes it once.
#[derive(Debug, Clone, Default)]
pub(crate) struct WakeUp(Arc<Notify>);

impl WakeUp {
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }

    pub(crate) async fn rung(&self) {
        self.0.notified().await;
    }
}
