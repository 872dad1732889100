//! The channel replies go out by.

use std::sync::Arc;

use lapin::Channel;
use lapin::options::BasicPublishOptions;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::wire::Returning;
use crate::transport::rabbitmq::connection::Supervised;
use crate::transport::{Desk, Reply};

/// After a first try on a channel that turns out to be lost there is one on a new channel.
const TRIES: usize = 2;

/// Replies go over the publishing connection: were they on the consuming one, a broker that holds
/// back publishers would hold back all acknowledgements with them. And they have a channel of
/// their own, so that a reply which the broker takes for an error interrupts nothing else.
#[derive(Debug, Clone)]
pub(in crate::transport::rabbitmq) struct ReplyChannel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connection: Supervised,
    channel: Mutex<Option<Channel>>,
}

impl ReplyChannel {
    pub(in crate::transport::rabbitmq) fn new(connection: Supervised) -> Self {
        Self(Arc::new(Inner {
            connection,
            channel: Mutex::new(None),
        }))
    }

    /// Sends a reply, if that can be done while it is waited for.
    ///
    /// It is not confirmed: if it is lost on the way, the query times out.
    pub(super) async fn send(&self, desk: &Desk, to: &Returning, reply: &Reply, until: Instant) {
        let sending = async {
            for _ in 0..TRIES {
                match self.publish(desk, to, reply).await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(%error, "a reply could not be sent"),
                }
            }
        };
        // Whoever asked does not wait any longer either.
        let _ = timeout_at(until, sending).await;
    }

    async fn publish(&self, desk: &Desk, to: &Returning, reply: &Reply) -> lapin::Result<()> {
        let Some(address) = to.address.clone() else {
            return Ok(());
        };
        let Some(channel) = self.open().await? else {
            return Ok(());
        };
        let options = BasicPublishOptions::default();
        let properties = to.properties(desk, reply.outcome);
        channel
            .basic_publish("".into(), address, options, &reply.body, properties)
            .await?;
        Ok(())
    }

    /// The channel at hand, or a new one; `None` once the transport is closed.
    async fn open(&self) -> lapin::Result<Option<Channel>> {
        let mut current = self.0.channel.lock().await;
        if let Some(channel) = current.as_ref().filter(|c| c.status().connected()) {
            return Ok(Some(channel.clone()));
        }
        let Some(connection) = self.0.connection.get().await else {
            return Ok(None);
        };
        let channel = connection.create_channel().await?;
        Ok(Some(current.insert(channel).clone()))
    }
}
