//! Declares exchanges, queues and bindings, also as a user who may not create them.

use std::fmt;

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

/// Why an exchange or a queue can't be used as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeclareError {
    #[error(
        "{resource} does not exist, or is hidden from the user, and the user may not create it \
         ({source}); create it, or grant the permission"
    )]
    Missing {
        resource: Resource,
        source: lapin::Error,
    },
    #[error(
        "{resource} can't be declared ({source}); \
         if it exists with other properties, such as another type, delete it or rename it"
    )]
    Refused {
        resource: Resource,
        source: lapin::Error,
    },
    #[error(transparent)]
    Broker(#[from] lapin::Error),
}

/// What is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    Exchange(String),
    Queue(String),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange `{name}`"),
            Self::Queue(name) => write!(f, "queue `{name}`"),
        }
    }
}

/// How resources are declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// With their properties, so that the broker refuses those which exist with others.
    Declare,
    /// Passively first: what exists is left as it is, and needs no permission to configure.
    Check,
}

/// Declares on channels of its own: the broker closes a channel with each refusal.
pub(super) struct Declaring<'a> {
    connection: &'a Connection,
    channel: Channel,
    mode: Mode,
    /// What did not exist although it was only checked.
    pub(super) recreated: Vec<Resource>,
    /// The bindings that the user may not make, in words.
    pub(super) refused_bindings: Vec<String>,
}

impl<'a> Declaring<'a> {
    pub(super) async fn on(connection: &'a Connection, mode: Mode) -> lapin::Result<Self> {
        Ok(Self {
            connection,
            channel: connection.create_channel().await?,
            mode,
            recreated: Vec::new(),
            refused_bindings: Vec::new(),
        })
    }

    pub(super) async fn exchange(
        &mut self,
        name: &str,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(), DeclareError> {
        let resource = Resource::Exchange(name.to_owned());
        self.ensure(resource, kind, arguments).await
    }

    pub(super) async fn queue(
        &mut self,
        name: &ShortString,
        arguments: FieldTable,
    ) -> Result<(), DeclareError> {
        let resource = Resource::Queue(name.as_str().to_owned());
        self.ensure(resource, ExchangeKind::default(), arguments)
            .await
    }

    /// Makes sure that a resource exists: declared as the mode says, and otherwise if that can't
    /// be done. The kind matters to exchanges alone.
    async fn ensure(
        &mut self,
        resource: Resource,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(), DeclareError> {
        let (active, passive) = (false, true);
        if self.mode == Mode::Declare {
            match self.declare(&resource, &kind, &arguments, active).await {
                Ok(()) => return Ok(()),
                Err(error) if is_soft(&error, AMQPSoftError::ACCESSREFUSED) => {
                    // Very likely it holds for the other resources, too.
                    self.mode = Mode::Check;
                    self.reopen().await?;
                }
                Err(source) => return Err(self.refusal(resource, source)),
            }
        }
        match self.declare(&resource, &kind, &arguments, passive).await {
            Ok(()) => return Ok(()),
            Err(error) if is_soft(&error, AMQPSoftError::NOTFOUND) => self.reopen().await?,
            // RabbitMQ 4.3 hides what a user has no permission at all for.
            Err(source) if is_soft(&source, AMQPSoftError::ACCESSREFUSED) => {
                return Err(DeclareError::Missing { resource, source });
            }
            Err(source) => return Err(self.refusal(resource, source)),
        }
        match self.declare(&resource, &kind, &arguments, active).await {
            Ok(()) => {
                self.recreated.push(resource);
                Ok(())
            }
            Err(source) if is_soft(&source, AMQPSoftError::ACCESSREFUSED) => {
                Err(DeclareError::Missing { resource, source })
            }
            Err(source) => Err(self.refusal(resource, source)),
        }
    }

    async fn declare(
        &self,
        resource: &Resource,
        kind: &ExchangeKind,
        arguments: &FieldTable,
        passive: bool,
    ) -> lapin::Result<()> {
        let (channel, arguments) = (&self.channel, arguments.clone());
        match resource {
            Resource::Exchange(name) => {
                let options = ExchangeDeclareOptions {
                    passive,
                    durable: true,
                    ..ExchangeDeclareOptions::default()
                };
                let (name, kind) = (name.as_str().into(), kind.clone());
                channel
                    .exchange_declare(name, kind, options, arguments)
                    .await
            }
            Resource::Queue(name) => {
                let options = QueueDeclareOptions {
                    passive,
                    ..QueueDeclareOptions::durable()
                };
                let name = name.as_str().into();
                let declared = channel.queue_declare(name, options, arguments).await;
                declared.map(|_| ())
            }
        }
    }

    pub(super) async fn bind_queue(
        &mut self,
        queue: &ShortString,
        exchange: &str,
        key: &str,
        arguments: FieldTable,
    ) -> Result<(), DeclareError> {
        let options = QueueBindOptions::default();
        let (queue, source) = (queue.clone(), exchange.into());
        let bound = self
            .channel
            .queue_bind(queue.clone(), source, key.into(), options, arguments)
            .await;
        self.note_binding(bound, exchange, key, queue.as_str())
            .await
    }

    pub(super) async fn bind_exchange(
        &mut self,
        destination: &str,
        source: &str,
        key: &str,
    ) -> Result<(), DeclareError> {
        let bound = self
            .channel
            .exchange_bind(
                destination.into(),
                source.into(),
                key.into(),
                ExchangeBindOptions::default(),
                FieldTable::default(),
            )
            .await;
        self.note_binding(bound, source, key, destination).await
    }

    /// A refused binding may exist all the same, made by an operator: there is no asking the
    /// broker. So it is noted, and the rest goes on.
    async fn note_binding(
        &mut self,
        bound: lapin::Result<()>,
        source: &str,
        key: &str,
        destination: &str,
    ) -> Result<(), DeclareError> {
        match bound {
            Err(error) if is_soft(&error, AMQPSoftError::ACCESSREFUSED) => {
                self.refused_bindings
                    .push(format!("`{source}` ─{key}─▶ `{destination}` ({error})"));
                self.reopen().await?;
                Ok(())
            }
            bound => Ok(bound?),
        }
    }

    /// Ends the declarations. An error here changes nothing about what was declared.
    pub(super) async fn close(self) {
        let _ = self.channel.close(200, "declared".into()).await;
    }

    async fn reopen(&mut self) -> lapin::Result<()> {
        self.channel = self.connection.create_channel().await?;
        Ok(())
    }

    fn refusal(&self, resource: Resource, source: lapin::Error) -> DeclareError {
        if self.connection.status().connected() {
            DeclareError::Refused { resource, source }
        } else {
            DeclareError::Broker(source)
        }
    }
}

/// Whether the broker has closed the channel for this reason.
pub(super) fn is_soft(error: &lapin::Error, kind: AMQPSoftError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Soft(kind)
    )
}
