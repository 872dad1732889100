//! Publishing with confirms, pipelined.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, PublisherConfirm};
use tokio::sync::Mutex;

use super::confirms::Confirms;
use super::connection::Supervised;
use super::declaring::DeclareError;
use super::{topology, wire};
use crate::envelope::Envelope;
use crate::transport::Settlement;

/// A channel in confirm mode that is made anew when it is lost.
#[derive(Debug)]
pub(super) struct Publisher {
    connection: Supervised,
    channel: Mutex<Option<Open>>,
}

#[derive(Debug, Clone)]
struct Open {
    channel: Channel,
    confirms: Confirms,
}

impl Publisher {
    pub(super) fn new(connection: Supervised) -> Self {
        Self {
            connection,
            channel: Mutex::new(None),
        }
    }

    /// See [`Transport::publish`](crate::Transport::publish).
    pub(super) async fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'static, Vec<Settlement>> {
        // The lock is held until all frames are queued, so that batches do not interleave.
        let mut channel = self.channel.lock().await;
        let open = match self.open(&mut channel).await {
            Ok(open) => open,
            Err(reason) => return failed(messages.len(), &reason),
        };
        send_all(&open, &messages).await
    }

    /// See [`Transport::publish_apart`](crate::Transport::publish_apart).
    pub(super) async fn publish_apart(&self, messages: Vec<Envelope>) -> Vec<Settlement> {
        let settlements = match self.new_channel().await {
            Ok(open) => send_all(&open, &messages).await,
            Err(reason) => failed(messages.len(), &reason),
        };
        let mut settlements = settlements.await;
        // No other message was on the channel.
        if let [Settlement::Suspected(refusal)] = settlements.as_slice() {
            settlements = vec![Settlement::Refused(refusal.clone())];
        }
        settlements
    }

    /// The channel at hand, or a new one.
    ///
    /// Of a channel that is lost this tells once, before there is a new one: what was given to it
    /// has to come first again, and not what comes next.
    ///
    /// One on which the broker has refused a message is given up in the same way. RabbitMQ 3.10
    /// looks for the leader of a quorum queue when a channel publishes to it for the first time; if
    /// that node has just gone down, it goes on to refuse whatever comes on this channel, until the
    /// node is back, while another channel finds the new leader.
    async fn open(&self, current: &mut Option<Open>) -> Result<Open, String> {
        match current.take() {
            Some(open) if !open.channel.status().connected() => {
                return Err("the connection was lost".to_owned());
            }
            Some(open) if open.confirms.refused() => {
                return Err("the broker refused messages on the channel".to_owned());
            }
            Some(open) => return Ok(current.insert(open).clone()),
            None => {}
        }
        Ok(current.insert(self.new_channel().await?).clone())
    }

    async fn new_channel(&self) -> Result<Open, String> {
        let connection = self.connection.get().await.ok_or("the bus is closed")?;
        let channel = async {
            let channel = connection.create_channel().await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            topology::ensure_exchanges(&connection).await?;
            Ok::<_, DeclareError>(channel)
        };
        let channel = channel.await.map_err(|error| error.to_string())?;
        let confirms = Confirms::start(channel.clone());
        Ok(Open { channel, confirms })
    }
}

async fn send_all(open: &Open, messages: &[Envelope]) -> BoxFuture<'static, Vec<Settlement>> {
    // A publish queues its frames when it is polled first: polling in order keeps the order.
    let mut sending: Vec<_> = messages
        .iter()
        .map(|envelope| {
            let mut publish = Box::pin(send(&open.channel, envelope));
            let sent = publish.as_mut().now_or_never();
            (publish, sent)
        })
        .collect();
    // From the last one: when its frames are on their way, so are those of all others.
    for (publish, sent) in sending.iter_mut().rev() {
        if sent.is_none() {
            *sent = Some(publish.await);
        }
    }
    let ids = messages.iter().map(|envelope| envelope.id);
    let sent = sending.into_iter().filter_map(|(_, sent)| sent);
    open.confirms.settle(ids.zip(sent))
}

async fn send(channel: &Channel, envelope: &Envelope) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: envelope.mandatory,
        ..BasicPublishOptions::default()
    };
    channel
        .basic_publish(
            topology::exchange_of(envelope.kind).into(),
            envelope.name.as_str().into(),
            options,
            &envelope.body,
            wire::properties(envelope),
        )
        .await
}

fn failed(count: usize, reason: &str) -> BoxFuture<'static, Vec<Settlement>> {
    let settlements = vec![Settlement::Failed(reason.to_owned()); count];
    async move { settlements }.boxed()
}
