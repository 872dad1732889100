//! The end of a group: first of what it is bound for, then of its queues.

use lapin::options::{
    ExchangeDeleteOptions, ExchangeUnbindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Error, ErrorKind};

use super::connection::Supervised;
use super::topology;
use crate::transport::{Group, TransportError};

/// See [`Transport::unbind`](crate::transport::Transport::unbind).
pub(super) async fn unbind(connection: &Supervised, group: &Group) -> Result<(), TransportError> {
    let unbound = async {
        let Some(channel) = open(connection).await? else {
            return Ok(());
        };
        for binding in &group.bindings {
            let exchange = topology::exchange_of(binding.kind);
            let (name, key) = (group.name.as_str(), binding.pattern.as_str());
            if group.partition.is_none() {
                let arguments = FieldTable::default();
                channel
                    .queue_unbind(name.into(), exchange.into(), key.into(), arguments)
                    .await?;
            } else {
                let options = ExchangeUnbindOptions::default();
                let arguments = FieldTable::default();
                channel
                    .exchange_unbind(name.into(), exchange.into(), key.into(), options, arguments)
                    .await?;
            }
        }
        channel.close(200, "unbound".into()).await
    };
    unbound.await.map_err(|error| TransportError {
        action: "unbind the group's queue",
        source: error.into(),
    })
}

/// See [`Transport::remove`](crate::transport::Transport::remove).
pub(super) async fn remove(connection: &Supervised, group: &Group) -> Result<bool, TransportError> {
    let removed = async {
        let mut queues = topology::queues_of(group);
        queues.push(topology::dead_queue(&group.name));
        for queue in &queues {
            if !is_idle(connection, queue).await? {
                return Ok(false);
            }
        }
        let Some(channel) = open(connection).await? else {
            return Ok(false);
        };
        for queue in &queues {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(queue.as_str().into(), options).await?;
        }
        if let Some(partition) = group.partition {
            let options = ExchangeDeleteOptions::default();
            channel
                .exchange_delete(group.name.as_str().into(), options)
                .await?;
            let keyless = topology::keyless_exchange(group, partition);
            channel
                .exchange_delete(keyless.as_str().into(), options)
                .await?;
        }
        channel.close(200, "removed".into()).await?;
        Ok(true)
    };
    removed.await.map_err(|error: Error| TransportError {
        action: "remove the group's queue",
        source: error.into(),
    })
}

/// Whether a queue holds nothing that could be delivered, and has no consumer; or is not there.
async fn is_idle(connection: &Supervised, queue: &str) -> Result<bool, Error> {
    // Its own channel: the broker closes it if the queue is not there.
    let Some(channel) = open(connection).await? else {
        return Ok(false);
    };
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    match channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await
    {
        Ok(state) => {
            channel.close(200, "looked".into()).await?;
            Ok(state.message_count() == 0 && state.consumer_count() == 0)
        }
        Err(error) if is_not_found(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_not_found(error: &Error) -> bool {
    use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
    matches!(
        error.kind(),
        ErrorKind::ProtocolError(error)
            if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)
    )
}

/// A channel, or `None` when the transport is closed.
async fn open(connection: &Supervised) -> Result<Option<Channel>, Error> {
    match connection.get().await {
        Some(connection) => connection.create_channel().await.map(Some),
        None => Ok(None),
    }
}
