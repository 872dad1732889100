//! A handler with its message type erased: it takes envelopes and decodes for itself.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::database_fault::DatabaseFault;
use crate::dead_letters::Reason;
use crate::decode::{DecodeError, summary};
use crate::envelope::Envelope;
use crate::error_text;
use crate::handler::{BatchHandler, DynamicHandler, Handler, HandlerError};
use crate::message::{Kind, Message, MessageKind as _};
use crate::pattern::Pattern;
use crate::received::Received;
use crate::transport::Binding;
use crate::unit_of_work::UnitOfWork;

/// A message for a handler, with the number of this attempt.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) attempt: u32,
}

impl Task {
    /// The first attempt at a message.
    pub(crate) fn first(envelope: Arc<Envelope>) -> Self {
        Self {
            envelope,
            attempt: 1,
        }
    }
}

/// A handler for one message type, or for what matches a pattern.
#[derive(Clone)]
pub(crate) struct HandlerEntry {
    /// The handler's name in the inbox.
    pub(crate) name: &'static str,
    /// Whether it takes more than one message at a time.
    pub(crate) takes_batches: bool,
    pub(crate) subject: Subject,
    run: Arc<dyn Run>,
}

/// What a handler handles.
#[derive(Clone)]
pub(crate) enum Subject {
    /// Messages of a type.
    Type {
        kind: Kind,
        name: &'static str,
        /// The newest version it can read.
        version: u32,
        id: TypeId,
        /// How the document describes the body.
        #[cfg(feature = "asyncapi")]
        body: crate::asyncapi::Body,
    },
    /// Events with a matching name, in any version.
    Pattern(Pattern),
}

/// Why a handler did not do its work.
#[derive(Debug)]
pub(crate) enum HandlerFailure {
    /// The message never reached the handler.
    Unreadable { reason: Reason, detail: String },
    /// The handler said so, or panicked.
    Handler(HandlerError),
}

impl HandlerFailure {
    /// The fault of a database behind the failure, if there is one.
    pub(crate) fn fault(&self) -> Option<DatabaseFault> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Handler(error) => DatabaseFault::behind(error.source.as_ref()),
        }
    }

    /// The error and its causes, outermost first.
    pub(crate) fn reasons(&self) -> Vec<String> {
        match self {
            Self::Handler(error) => error.reasons(),
            Self::Unreadable { detail, .. } => vec![detail.clone()],
        }
    }
}

impl HandlerEntry {
    pub(crate) fn single<M: Message, H: Handler<M>>(handler: H) -> Self {
        let name = handler.name();
        let run = Single::<M, H>(handler, PhantomData);
        Self::typed::<M>(name, false, Arc::new(run))
    }

    pub(crate) fn batch<M: Message, H: BatchHandler<M>>(handler: H) -> Self {
        let name = handler.name();
        let run = Batch::<M, H>(handler, PhantomData);
        Self::typed::<M>(name, true, Arc::new(run))
    }

    pub(crate) fn dynamic<H: DynamicHandler>(pattern: Pattern, handler: H) -> Self {
        Self {
            name: handler.name(),
            takes_batches: false,
            subject: Subject::Pattern(pattern),
            run: Arc::new(Dynamic(handler)),
        }
    }

    fn typed<M: Message>(name: &'static str, takes_batches: bool, run: Arc<dyn Run>) -> Self {
        let subject = Subject::Type {
            kind: M::Kind::KIND,
            name: M::NAME,
            version: M::VERSION,
            id: TypeId::of::<M>(),
            #[cfg(feature = "asyncapi")]
            body: crate::asyncapi::Body::of::<M>(),
        };
        Self {
            name,
            takes_batches,
            subject,
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
            self.subject.check_version(&task.envelope)?;
        }
        let run = std::panic::AssertUnwindSafe(self.run.run(tasks, work));
        run.catch_unwind().await.unwrap_or_else(|panic| {
            Err(HandlerFailure::Handler(HandlerError::retry(format!(
                "the handler panicked: {}",
                panic_message(panic.as_ref())
            ))))
        })
    }
}

impl fmt::Debug for HandlerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.name, self.subject.as_str())
    }
}

impl Subject {
    /// The name of the message, or the pattern.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Type { name, .. } => name,
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }

    /// What a queue must be bound for, so that the handler gets its messages.
    pub(crate) fn binding(&self) -> Binding {
        let kind = match self {
            Self::Type { kind, .. } => *kind,
            Self::Pattern(_) => Kind::Event,
        };
        Binding {
            kind,
            pattern: self.as_str().to_owned(),
        }
    }

    /// Whether one message could be for both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Type { name: a, .. }, Self::Type { name: b, .. }) => a == b,
            // Two patterns may meet in a name that nobody has thought of.
            _ => true,
        }
    }

    fn check_version(&self, envelope: &Envelope) -> Result<(), HandlerFailure> {
        match self {
            Self::Type { version, .. } if envelope.version > *version => {
                Err(HandlerFailure::Unreadable {
                    reason: Reason::NewerVersion,
                    detail: format!(
                        "`{}` came in version {}, and version {version} is the newest known here",
                        envelope.name, envelope.version
                    ),
                })
            }
            Self::Type { .. } | Self::Pattern(_) => Ok(()),
        }
    }
}

/// A handler that decodes for itself.
trait Run: Send + Sync {
    fn run<'a>(
        &'a self,
        tasks: &'a [Task],
        work: &'a mut UnitOfWork,
    ) -> BoxFuture<'a, Result<(), HandlerFailure>>;
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
                let handled = self.0.handle(decode::<M>(task)?, work).await;
                handled.map_err(HandlerFailure::Handler)?;
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
            let handled = self.0.handle(messages, work).await;
            handled.map_err(HandlerFailure::Handler)
        })
    }
}

struct Dynamic<H>(H);

impl<H: DynamicHandler> Run for Dynamic<H> {
    fn run<'a>(
        &'a self,
        tasks: &'a [Task],
        work: &'a mut UnitOfWork,
    ) -> BoxFuture<'a, Result<(), HandlerFailure>> {
        Box::pin(async move {
            for task in tasks {
                let body = serde_json::from_slice(&task.envelope.body).map_err(|error| {
                    HandlerFailure::Unreadable {
                        reason: Reason::Malformed,
                        detail: format!("the body is not JSON: {}", summary(&error)),
                    }
                })?;
                let message = Received::new(body, task.envelope.clone(), task.attempt);
                let handled = self.0.handle(message, work).await;
                handled.map_err(HandlerFailure::Handler)?;
            }
            Ok(())
        })
    }
}

fn decode<M: Message>(task: &Task) -> Result<Received<M>, HandlerFailure> {
    let message = task.envelope.decode::<M>()?;
    Ok(Received::new(message, task.envelope.clone(), task.attempt))
}

impl From<DecodeError> for HandlerFailure {
    fn from(error: DecodeError) -> Self {
        let reason = match error {
            DecodeError::Newer { .. } => Reason::NewerVersion,
            DecodeError::Body { .. } | DecodeError::Upcast { .. } => Reason::Malformed,
        };
        let detail = error_text::line(&error);
        Self::Unreadable { reason, detail }
    }
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
