//! What a transport carries for queries: a question there, a reply back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use super::Malformed;
use crate::envelope::Envelope;

/// How long queries wait for a service whose last instance has gone. Within it a restart is not
/// noticed but by the time it takes; after it nobody answers.
pub(super) const KEPT_WITHOUT_RESPONDER: Duration = Duration::from_secs(60);

/// The longest time a query may take, whatever its asker says.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What came back for a query.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// How it was answered.
    pub outcome: ReplyOutcome,
    /// JSON: the answer, the refusal, or why it failed.
    pub body: Bytes,
}

/// The three ways in which a query is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyOutcome {
    /// With an answer.
    Answered,
    /// With a no in the contract's own words.
    Refused,
    /// Not: the responder could not.
    Failed,
}

impl ReplyOutcome {
    /// Its name on the wire, in spans and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Bodies may hold personal data.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("outcome", &self.outcome)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Why a query got no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoReply {
    /// No service answers this query.
    NobodyAnswers,
    /// No reply came in time.
    TimedOut,
    /// There was no connection in time, or it went while the reply was waited for.
    Disconnected,
    /// What came is no reply; with what is wrong.
    Malformed(String),
}

/// Where queries of one name are answered by a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Desk {
    /// The service that answers. Its instances share the queries.
    pub service: String,
    /// The name of the query.
    pub query: String,
    /// How many of them may be in hand here without being answered.
    pub at_once: u16,
}

/// The queries that come to a desk. Dropping it ends the taking part; queries that were not
/// answered then go to another instance, if there is one in time.
#[derive(Debug)]
pub struct Questions {
    /// The queries, as they come. Ends when the transport is closed.
    pub questions: mpsc::UnboundedReceiver<Question>,
    /// Tells the transport when no more are wanted.
    membership: Option<DropGuard>,
}

impl Questions {
    /// Queries whose end cancels the token behind the guard.
    pub fn new(questions: mpsc::UnboundedReceiver<Question>, membership: DropGuard) -> Self {
        Self {
            questions,
            membership: Some(membership),
        }
    }

    /// Takes no more, and gives what has come already.
    pub fn leave(mut self) -> Vec<Question> {
        drop(self.membership.take());
        std::iter::from_fn(|| self.questions.try_recv().ok()).collect()
    }
}

/// A query that came, and the way back to whoever asked.
#[derive(Debug)]
pub struct Question {
    /// The query, or what could not be read as one.
    pub content: Result<Arc<Envelope>, Malformed>,
    /// How long an answer is waited for, at the longest.
    pub time_left: Duration,
    path: Box<dyn ReplyPath>,
}

/// The way back to one asker: what a transport gives its questions.
#[async_trait]
pub trait ReplyPath: Send + Sync + fmt::Debug {
    /// Sends the reply, if there is one, and then takes the query for done. If the asker is gone,
    /// or the way to it, the reply is lost.
    async fn settle(self: Box<Self>, reply: Option<Reply>);
}

impl Question {
    /// A question to be answered by `path`.
    pub fn new(
        content: Result<Arc<Envelope>, Malformed>,
        time_left: Duration,
        path: Box<dyn ReplyPath>,
    ) -> Self {
        Self {
            content,
            time_left,
            path,
        }
    }

    /// Sends the reply. One that comes too late harms nobody.
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe: if its future is dropped, the reply may not be sent.
    pub async fn reply(self, reply: Reply) {
        self.path.settle(Some(reply)).await;
    }

    /// Leaves it unanswered, since nobody waits any longer.
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe: if its future is dropped, the request may be delivered
    /// again.
    pub async fn give_up(self) {
        self.path.settle(None).await;
    }
}
