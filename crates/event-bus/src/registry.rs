//! The handlers of a bus, with their message types erased.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::dead_letters::Reason;
use crate::envelope::Envelope;
use crate::handler::{BatchHandler, Handler, HandlerError};
use crate::message::{Kind, Message, MessageKind as _};
use crate::received::Received;
use crate::transport::Binding;
use crate::unit_of_work::UnitOfWork;

/// A message for a handler, with the number of this attempt.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) attempt: u32,
}

/// A handler for one message type.
#[derive(Clone)]
pub(crate) struct HandlerEntry {
    /// The handler's name in the inbox.
    pub(crate) name: &'static str,
    /// Whether it takes more than one message at a time.
    pub(crate) takes_batches: bool,
    kind: Kind,
    message: &'static str,
    version: u32,
    run: Arc<dyn Run>,
}

/// A handler that decodes for itself.
trait Run: Send + Sync {
    fn run<'a>(
        &'a self,
        tasks: &'a [Task],
        work: &'a mut UnitOfWork,
    ) -> BoxFuture<'a, Result<(), HandlerFailure>>;
}

/// Why a handler did not do its work.
#[derive(Debug)]
pub(crate) enum HandlerFailure {
    /// The message never reached the handler.
    Unreadable { reason: Reason, detail: String },
    /// The handler said so, or panicked.
    Handler(HandlerError),
}

impl HandlerEntry {
    pub(crate) fn single<M: Message, H: Handler<M>>(handler: H) -> Self {
        let name = handler.name();
        let run = Single::<M, H>(handler, PhantomData);
        Self::new::<M>(name, false, Arc::new(run))
    }

    pub(crate) fn batch<M: Message, H: BatchHandler<M>>(handler: H) -> Self {
        let name = handler.name();
        let run = Batch::<M, H>(handler, PhantomData);
        Self::new::<M>(name, true, Arc::new(run))
    }

    fn new<M: Message>(name: &'static str, takes_batches: bool, run: Arc<dyn Run>) -> Self {
        Self {
            name,
            takes_batches,
            kind: M::Kind::KIND,
            message: M::NAME,
            version: M::VERSION,
            run,
        }
    }

    /// Runs the handler for these messages. A panic is a failure like any other.
    pub(crate) async fn run(
        &self,
        tasks: &[Task],
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerFailure> {
        for task in tasks {
            self.check_version(&task.envelope)?;
        }
        let run = std::panic::AssertUnwindSafe(self.run.run(tasks, work));
        run.catch_unwind().await.unwrap_or_else(|panic| {
            Err(HandlerFailure::Handler(HandlerError::retry(format!(
                "the handler panicked: {}",
                panic_message(panic.as_ref())
            ))))
        })
    }

    fn check_version(&self, envelope: &Envelope) -> Result<(), HandlerFailure> {
        if envelope.version <= self.version {
            return Ok(());
        }
        Err(HandlerFailure::Unreadable {
            reason: Reason::NewerVersion,
            detail: format!(
                "`{}` came in version {}, and version {} is the newest known here",
                envelope.name, envelope.version, self.version
            ),
        })
    }
}

impl fmt::Debug for HandlerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.name, self.message)
    }
}

struct Single<M, H>(H, PhantomData<fn() -> M>);

impl<M: Message, H: Handler<M>> Run for Single<M, H> {
    fn run<'a>(
        &'a self,
        tasks: &'a [Task],
        work: &'a mut UnitOfWork,
    ) -> BoxFuture<'a, Result<(), HandlerFailure>> {
        Box::pin(async move {
            for task in tasks {
                let message = decode::<M>(task)?;
                self.0
                    .handle(message, work)
                    .await
                    .map_err(HandlerFailure::Handler)?;
            }
            Ok(())
        })
    }
}

struct Batch<M, H>(H, PhantomData<fn() -> M>);

impl<M: Message, H: BatchHandler<M>> Run for Batch<M, H> {
    fn run<'a>(
        &'a self,
        tasks: &'a [Task],
        work: &'a mut UnitOfWork,
    ) -> BoxFuture<'a, Result<(), HandlerFailure>> {
        Box::pin(async move {
            let messages = tasks.iter().map(decode::<M>).collect::<Result<_, _>>()?;
            self.0
                .handle(messages, work)
                .await
                .map_err(HandlerFailure::Handler)
        })
    }
}

fn decode<M: Message>(task: &Task) -> Result<Received<M>, HandlerFailure> {
    let message = serde_json::from_slice(&task.envelope.body).map_err(|error| {
        HandlerFailure::Unreadable {
            reason: Reason::Malformed,
            detail: format!("the body is no `{}`: {error}", M::NAME),
        }
    })?;
    Ok(Received::new(message, task.envelope.clone(), task.attempt))
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// All handlers of a bus.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_message: HashMap<&'static str, Vec<HandlerEntry>>,
}

impl Registry {
    /// Adds a handler, or says that one of that name handles the message already.
    pub(crate) fn add(&mut self, entry: HandlerEntry) -> Result<(), DuplicateHandler> {
        let handlers = self.by_message.entry(entry.message).or_default();
        let taken = handlers.iter().any(|other| other.name == entry.name);
        let second_receiver = entry.kind == Kind::Command && !handlers.is_empty();
        if taken || second_receiver {
            return Err(DuplicateHandler {
                message: entry.message,
                handler: entry.name,
                kind: entry.kind,
            });
        }
        handlers.push(entry);
        Ok(())
    }

    /// The handlers of a message, in the order they were added.
    pub(crate) fn handlers_of(&self, message: &str) -> &[HandlerEntry] {
        self.by_message.get(message).map_or(&[], Vec::as_slice)
    }

    /// One handler of a message.
    pub(crate) fn handler(&self, message: &str, handler: &str) -> Option<&HandlerEntry> {
        self.handlers_of(message)
            .iter()
            .find(|entry| entry.name == handler)
    }

    /// The names of all handlers.
    pub(crate) fn handler_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.by_message.values().flatten().map(|h| h.name).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(str::to_owned).collect()
    }

    /// What the service's queue must receive.
    pub(crate) fn bindings(&self) -> Vec<Binding> {
        let mut bindings: Vec<_> = self
            .by_message
            .values()
            .filter_map(|handlers| handlers.first())
            .map(|entry| Binding {
                kind: entry.kind,
                pattern: entry.message.to_owned(),
            })
            .collect();
        bindings.sort();
        bindings
    }
}

/// Two handlers that can't be told apart, two receivers of one command, or two responders of one
/// query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", match kind {
    Kind::Event => format!("two handlers named `{handler}` were added for the event `{message}`"),
    Kind::Command => format!("the command `{message}` has a receiver already, `{handler}` would be a second"),
    Kind::Query => format!("the query `{message}` has a responder already, `{handler}` would be a second"),
})]
pub struct DuplicateHandler {
    pub(crate) message: &'static str,
    pub(crate) handler: &'static str,
    pub(crate) kind: Kind,
}
