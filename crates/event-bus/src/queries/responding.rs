//! Answering: from a question of the transport to a responder and back.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::responder::{RespondError, Responder, Verdict};
use super::{Failure, signals};
use crate::envelope::{Envelope, MAX_BODY_BYTES};
use crate::error_text;
use crate::handler_entry::panic_message;
use crate::received::Received;
use crate::request::Request;
use crate::start_error::StartError;
use crate::transport::{Question, Questions, Reply, ReplyOutcome};

/// What is told of a failure. Fixed texts: what goes wrong inside a service stays there.
const FAILED: &str = "the responder failed";
const UNREADABLE: &str = "the query can't be read";
const NEWER_VERSION: &str = "the query's version is newer than the one known here";
const QUERY_TOO_LARGE: &str = "the query is too large";
const ANSWER_TOO_LARGE: &str = "the answer is too large";

/// The outcome of an answer that was not ready while it was waited for.
const TIMED_OUT: &str = "timed_out";

/// A query's name is part of the name of its queue, for which AMQP has 255 bytes.
const MAX_NAME_BYTES: usize = 160;

/// A responder for one query.
#[derive(Clone)]
pub(crate) struct ResponderEntry {
    query: &'static str,
    name: &'static str,
    /// How the document describes the query.
    #[cfg(feature = "asyncapi")]
    body: crate::asyncapi::Body,
    respond: Arc<dyn Respond>,
}

/// A responder that decodes and encodes for itself.
trait Respond: Send + Sync {
    fn respond(&self, query: Arc<Envelope>) -> BoxFuture<'_, Reply>;
}

impl ResponderEntry {
    pub(crate) fn new<Q: Request, R: Responder<Q>>(responder: R) -> Self {
        const {
            assert!(
                Q::NAME.len() <= MAX_NAME_BYTES,
                "the query's name is too long"
            );
        };
        Self {
            query: Q::NAME,
            name: responder.name(),
            #[cfg(feature = "asyncapi")]
            body: crate::asyncapi::Body::of::<Q>(),
            respond: Arc::new(Typed::<Q, R>(responder, PhantomData)),
        }
    }

    /// The name of the query.
    pub(crate) fn query(&self) -> &'static str {
        self.query
    }

    /// The responder's name, and what a document says of the query.
    #[cfg(feature = "asyncapi")]
    pub(crate) fn outline(&self) -> (&'static str, crate::asyncapi::Body) {
        (self.name, self.body)
    }

    /// Answers what comes, each query in a task of its own, until shut down; then what is in hand.
    ///
    /// The transport gives no more than may be answered at once. Dropping this ends all tasks.
    pub(crate) async fn answer_all(self, mut questions: Questions, shutdown: CancellationToken) {
        let mut answering = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = answering.join_next() => {}
                question = questions.questions.recv() => {
                    let Some(question) = question else { break };
                    answering.spawn(self.clone().answer(question));
                }
            }
        }
        for question in questions.leave() {
            answering.spawn(self.clone().answer(question));
        }
        while answering.join_next().await.is_some() {}
    }

    async fn answer(self, question: Question) {
        let mut measured = signals::Measured::respond(self.query);
        let reply = match &question.content {
            Ok(query) => {
                let span = signals::respond_span(self.query, self.name, query);
                let reply = timeout(question.time_left, self.respond.respond(query.clone()))
                    .instrument(span.clone())
                    .await
                    .ok();
                let outcome = reply.as_ref().map_or(TIMED_OUT, |r| r.outcome.as_str());
                signals::record_outcome(&span, outcome);
                reply
            }
            Err(malformed) => {
                tracing::warn!(
                    query = self.query,
                    reason = malformed.reason,
                    "{UNREADABLE}"
                );
                Some(failed(UNREADABLE))
            }
        };
        match reply {
            Some(reply) => {
                measured.outcome = reply.outcome.as_str();
                question.reply(reply).await;
            }
            None => {
                measured.outcome = TIMED_OUT;
                question.give_up().await;
            }
        }
    }
}

impl fmt::Debug for ResponderEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.name, self.query)
    }
}

/// Says so if two responders are for the same query.
pub(crate) fn check_single(responders: &[ResponderEntry]) -> Result<(), StartError> {
    let mut queries = HashSet::new();
    match responders.iter().find(|entry| !queries.insert(entry.query)) {
        None => Ok(()),
        Some(second) => Err(StartError::SecondResponder {
            query: second.query,
            responder: second.name,
        }),
    }
}

struct Typed<Q, R>(R, PhantomData<fn() -> Q>);

impl<Q: Request, R: Responder<Q>> Respond for Typed<Q, R> {
    fn respond(&self, query: Arc<Envelope>) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let query = match decode::<Q>(query) {
                Ok(query) => query,
                Err(detail) => return failed(detail),
            };
            // The call itself may panic, not only its future.
            let responding = AssertUnwindSafe(async { self.0.respond(query).await });
            match responding.catch_unwind().await {
                Ok(Ok(answer)) => encode(ReplyOutcome::Answered, &answer),
                Ok(Err(RespondError(Verdict::Refused(refusal)))) => {
                    encode(ReplyOutcome::Refused, &refusal)
                }
                Ok(Err(RespondError(Verdict::Failed(error)))) => {
                    tracing::error!(error = error.reasons().join(": "), "{FAILED}");
                    failed(FAILED)
                }
                Err(panic) => {
                    tracing::error!(panic = panic_message(panic.as_ref()), "{FAILED}");
                    failed(FAILED)
                }
            }
        })
    }
}

fn decode<Q: Request>(query: Arc<Envelope>) -> Result<Received<Q>, &'static str> {
    if query.body.len() > MAX_BODY_BYTES {
        return Err(QUERY_TOO_LARGE);
    }
    if query.version > Q::VERSION {
        return Err(NEWER_VERSION);
    }
    // A queue gets what its name is bound for, but anybody may write another name into a message.
    if query.name != Q::NAME {
        return Err(UNREADABLE);
    }
    match query.decode() {
        Ok(message) => Ok(Received::new(message, query, 1)),
        Err(error) => {
            tracing::warn!(error = error_text::line(&error), "{UNREADABLE}");
            Err(UNREADABLE)
        }
    }
}

fn encode(outcome: ReplyOutcome, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) if body.len() > MAX_BODY_BYTES => {
            tracing::error!(bytes = body.len(), "{ANSWER_TOO_LARGE}");
            failed(ANSWER_TOO_LARGE)
        }
        Ok(body) => Reply {
            outcome,
            body: Bytes::from(body),
        },
        Err(error) => {
            tracing::error!(%error, "the answer can't be written as JSON");
            failed(FAILED)
        }
    }
}

fn failed(detail: &str) -> Reply {
    let failure = Failure {
        detail: detail.to_owned(),
    };
    Reply {
        outcome: ReplyOutcome::Failed,
        // A text in an object can always be written.
        body: Bytes::from(serde_json::to_vec(&failure).unwrap_or_default()),
    }
}
