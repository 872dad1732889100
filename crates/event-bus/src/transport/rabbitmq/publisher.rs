//! Publishing with confirms, pipelined.

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all, maybe_done};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::Mutex;

use super::connection::Supervised;
use super::{topology, wire};
use crate::envelope::Envelope;
use crate::transport::Settlement;

/// A channel in confirm mode that is made anew when it is lost.
#[derive(Debug)]
pub(super) struct Publisher {
    connection: Supervised,
    channel: Mutex<Option<Channel>>,
}

impl Publisher {
    pub(super) fn new(connection: Supervised) -> Self {
        Self {
            connection,
            channel: Mutex::new(None),
        }
    }

    pub(super) fn connected(&self) -> bool {
        self.connection.connected()
    }

    pub(super) async fn close(&self) {
        self.connection.close().await;
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
        let mut sending: Vec<_> = messages
            .iter()
            .map(|envelope| Box::pin(maybe_done(send(&open, envelope))))
            .collect();
        // A publish queues its frames when it is polled first: polling in order keeps the order.
        for publish in &mut sending {
            let _ = futures::poll!(publish.as_mut());
        }
        join_all(sending.iter_mut().map(|publish| publish.as_mut())).await;
        let confirms: Vec<_> = sending
            .iter_mut()
            .filter_map(|publish| publish.as_mut().take_output())
            .collect();
        join_all(confirms.into_iter().map(settle)).boxed()
    }

    /// The channel at hand, or a new one.
    async fn open(&self, channel: &mut Option<Channel>) -> Result<Channel, String> {
        if let Some(open) = channel.as_ref().filter(|open| open.status().connected()) {
            return Ok(open.clone());
        }
        let connection = self.connection.get().await.ok_or("the bus is closed")?;
        let open = async {
            let open = connection.create_channel().await?;
            open.confirm_select(ConfirmSelectOptions::default()).await?;
            topology::declare_exchanges(&open).await?;
            Ok::<_, lapin::Error>(open)
        };
        let open = open.await.map_err(|error| error.to_string())?;
        *channel = Some(open.clone());
        Ok(open)
    }
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

async fn settle(sent: lapin::Result<PublisherConfirm>) -> Settlement {
    let confirmation = match sent {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    match confirmation {
        // An unroutable message is confirmed as well, after it was returned.
        Ok(Confirmation::Ack(Some(_))) => Settlement::Unroutable,
        Ok(Confirmation::Ack(None)) => Settlement::Confirmed,
        Ok(Confirmation::Nack(_)) => Settlement::Failed("refused by the broker".to_owned()),
        Ok(Confirmation::NotRequested) => Settlement::Failed("not in confirm mode".to_owned()),
        Err(error) => Settlement::Failed(error.to_string()),
    }
}

fn failed(count: usize, reason: &str) -> BoxFuture<'static, Vec<Settlement>> {
    let settlements = vec![Settlement::Failed(reason.to_owned()); count];
    async move { settlements }.boxed()
}
