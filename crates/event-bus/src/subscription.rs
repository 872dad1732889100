//! A group that was subscribed while the bus was running.

use std::fmt;
use std::sync::Arc;

use crate::groups::{ActiveGroup, Groups};
use crate::transport::TransportError;

/// A consumer group that was added at run time. It goes on until
/// [`unsubscribe`](Self::unsubscribe), also when this is dropped.
#[derive(Clone)]
pub struct Subscription {
    groups: Arc<Groups>,
    active: Arc<ActiveGroup>,
}

impl Subscription {
    pub(crate) fn new(groups: Arc<Groups>, active: Arc<ActiveGroup>) -> Self {
        Self { groups, active }
    }

    /// The name of the group's queue: `<service>.<group>`.
    pub fn queue(&self) -> &str {
        &self.active.group.name
    }

    /// Ends what the group is bound for, in all instances of the service, handles what has reached
    /// its queue, and removes the queue unless other instances still take part.
    ///
    /// Messages that wait for a retry stay stored until a handler of that name is subscribed again.
    ///
    /// # Errors
    ///
    /// If the broker refuses or the connection goes; it can be called again then.
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe: if its future is dropped, the group may have stopped without
    /// its queue being removed. Call it again.
    pub async fn unsubscribe(&self) -> Result<(), TransportError> {
        self.groups.end(&self.active).await
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({})", self.queue())
    }
}

/// A group that is taken back unless it is kept: for a caller who stops waiting.
pub(crate) struct Tentative(Option<Subscription>);

impl Tentative {
    pub(crate) fn new(subscription: Subscription) -> Self {
        Self(Some(subscription))
    }

    /// Waits until nothing is missed any more.
    pub(crate) async fn bound(mut self) -> Option<Subscription> {
        if let Some(subscription) = &self.0 {
            subscription.active.bound.cancelled().await;
        }
        self.0.take()
    }
}

impl Drop for Tentative {
    fn drop(&mut self) {
        // Without a runtime nothing runs any more.
        if let Some(subscription) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                subscription.groups.stop(&subscription.active).await;
            });
        }
    }
}
