//! The end of a group: first of what it is bound for, then of its queues.

use lapin::options::{
    ExchangeDeleteOptions, ExchangeUnbindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Channel, Error, Queue};

use super::connection::Supervised;
use super::declaring::is_soft;
use super::topology;
use crate::transport::{Binding, Group, TransportError};

/// See [`Transport::unbind`](crate::transport::Transport::unbind).
pub(super) async fn unbind(connection: &Supervised, group: &Group) -> Result<(), TransportError> {
    let unbound = async {
        let Some(mut channel) = open(connection).await? else {
            return Ok(());
        };
        for binding in &group.bindings {
            match unbind_one(&channel, group, binding).await {
                // What does not exist is not bound.
                Err(error) if is_soft(&error, AMQPSoftError::NOTFOUND) => {
                    match open(connection).await? {
                        Some(next) => channel = next,
                        None => return Ok(()),
                    }
                }
                unbound => unbound?,
            }
        }
        channel.close(200, "unbound".into()).await
    };
    unbound.await.map_err(|error| TransportError {
        action: "unbind the group's queue",
        source: error.into(),
    })
}

async fn unbind_one(channel: &Channel, group: &Group, binding: &Binding) -> Result<(), Error> {
    let exchange = topology::exchange_of(binding.kind).into();
    let (name, key) = (group.name.as_str().into(), binding.pattern.as_str().into());
    let arguments = FieldTable::default();
    if group.partition.is_none() {
        return channel.queue_unbind(name, exchange, key, arguments).await;
    }
    let options = ExchangeUnbindOptions::default();
    channel
        .exchange_unbind(name, exchange, key, options, arguments)
        .await
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

/// See [`Transport::depth`](crate::transport::Transport::depth).
pub(super) async fn depth(
    connection: &Supervised,
    group: &Group,
) -> Result<Option<u64>, TransportError> {
    let counted = async {
        let mut queues = topology::queues_of(group);
        queues.push(topology::dead_queue(&group.name));
        let mut depth = None;
        for queue in &queues {
            if let Some(queue) = state_of(connection, queue).await? {
                *depth.get_or_insert(0) += u64::from(queue.message_count());
            }
        }
        Ok(depth)
    };
    counted.await.map_err(|error: Error| TransportError {
        action: "count the messages of the group's queues",
        source: error.into(),
    })
}

/// Whether a queue holds nothing that could be delivered, and has no consumer; or does not exist.
async fn is_idle(connection: &Supervised, queue: &str) -> Result<bool, Error> {
    let state = state_of(connection, queue).await?;
    Ok(state.is_none_or(|state| state.message_count() == 0 && state.consumer_count() == 0))
}

/// The state of a queue; `None` if it does not exist, or the transport is closed.
async fn state_of(connection: &Supervised, queue: &str) -> Result<Option<Queue>, Error> {
    // Its own channel: the broker closes it if the queue does not exist.
    let Some(channel) = open(connection).await? else {
        return Ok(None);
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
            Ok(Some(state))
        }
        Err(error) if is_soft(&error, AMQPSoftError::NOTFOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A channel, or `None` when the transport is closed.
async fn open(connection: &Supervised) -> Result<Option<Channel>, Error> {
    match connection.get().await {
        Some(connection) => connection.create_channel().await.map(Some),
        None => Ok(None),
    }
}
