//! Asking: [`EventBus::request`].

use std::time::Duration;

use serde::de::DeserializeOwned;
use tracing::Instrument as _;

use super::{Failure, signals};
use crate::bus::EventBus;
use crate::envelope::{Envelope, Lineage, MAX_BODY_BYTES, PublishError};
use crate::request::Request;
use crate::transport::{NoReply, Reply, ReplyOutcome};

/// What is shown of a reason from another service, in characters.
const LONGEST_DETAIL: usize = 200;

impl EventBus {
    /// Asks a query and waits for its answer, for `timeout` at most, and never longer than ten
    /// minutes.
    ///
    /// The bus asks once. Since a query changes nothing, whoever asks may do so again. Dropping the
    /// future gives the question up; an answer that comes later is ignored.
    ///
    /// # Errors
    ///
    /// See [`RequestError`].
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: a request changes nothing, and a response that arrives later is
    /// ignored.
    pub async fn request<Q: Request>(
        &self,
        query: &Q,
        timeout: Duration,
    ) -> Result<Q::Answer, RequestError<Q::Refusal>> {
        let (answer, _) = self.ask(query, timeout).await?;
        Ok(answer)
    }

    /// The answer, and the query's envelope.
    pub(crate) async fn ask<Q: Request>(
        &self,
        query: &Q,
        timeout: Duration,
    ) -> Result<(Q::Answer, Envelope), RequestError<Q::Refusal>> {
        let span = signals::request_span(Q::NAME);
        let mut measured = signals::Measured::request(Q::NAME);
        let answer = self.exchange(query, timeout).instrument(span.clone()).await;
        let outcome = match &answer {
            Ok(_) => ReplyOutcome::Answered.as_str(),
            Err(error) => error.outcome(),
        };
        measured.outcome = outcome;
        signals::record_outcome(&span, outcome);
        answer
    }

    async fn exchange<Q: Request>(
        &self,
        query: &Q,
        timeout: Duration,
    ) -> Result<(Q::Answer, Envelope), RequestError<Q::Refusal>> {
        let envelope = Envelope::encode(&self.publisher.service, Lineage::begin(), query)?;
        tracing::Span::current().record("messaging.message.id", envelope.id.to_string());
        let reply = self.transport.request(envelope.clone(), timeout).await;
        let name = Q::NAME;
        match reply {
            Ok(reply) => Ok((read::<Q>(&reply)?, envelope)),
            Err(NoReply::NobodyAnswers) => Err(RequestError::NobodyAnswers { name }),
            Err(NoReply::TimedOut) => Err(RequestError::TimedOut { name, timeout }),
            Err(NoReply::Disconnected) => Err(RequestError::Disconnected { name }),
            Err(NoReply::Malformed(reason)) => Err(RequestError::UnreadableAnswer { name, reason }),
        }
    }
}

fn read<Q: Request>(reply: &Reply) -> Result<Q::Answer, RequestError<Q::Refusal>> {
    match reply.outcome {
        ReplyOutcome::Answered => decode(Q::NAME, &reply.body),
        ReplyOutcome::Refused => Err(RequestError::Refused(decode(Q::NAME, &reply.body)?)),
        ReplyOutcome::Failed => {
            let Failure { detail } = decode(Q::NAME, &reply.body)?;
            Err(RequestError::Failed {
                name: Q::NAME,
                detail: detail.chars().take(LONGEST_DETAIL).collect(),
            })
        }
    }
}

fn decode<T: DeserializeOwned, R>(name: &'static str, body: &[u8]) -> Result<T, RequestError<R>> {
    if body.len() > MAX_BODY_BYTES {
        let reason = format!(
            "it has {} bytes, more than the {MAX_BODY_BYTES} that are taken",
            body.len()
        );
        return Err(RequestError::UnreadableAnswer { name, reason });
    }
    serde_json::from_slice(body).map_err(|error| RequestError::UnreadableAnswer {
        name,
        reason: error.to_string(),
    })
}

/// Why a query got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError<R> {
    /// The query could not be put into an envelope. It was not asked.
    #[error(transparent)]
    Encode(#[from] PublishError),
    /// No service answers this query. Told at once, without waiting for the time-out.
    ///
    /// A service whose last instance has gone counts as one that answers for about a minute more,
    /// in which its queries wait for it to come back; asking it is
    /// [`TimedOut`](Self::TimedOut) then.
    #[error("nobody answers `{name}`")]
    NobodyAnswers {
        /// The query's name.
        name: &'static str,
    },
    /// No answer came in time. A responder may be slow, or away for a moment.
    #[error("no answer to `{name}` came within {timeout:?}")]
    TimedOut {
        /// The query's name.
        name: &'static str,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The responder said no, in the contract's own words.
    #[error("the query was refused: {0:?}")]
    Refused(R),
    /// The responder failed, or could not read the query: it may know only an older version of it.
    #[error("`{name}` could not be answered: {detail}")]
    Failed {
        /// The query's name.
        name: &'static str,
        /// One of a few fixed texts. What went wrong inside the other service is in its own log.
        detail: String,
    },
    /// Something came back that is not what the contract says, or is too large.
    #[error("the answer to `{name}` can't be read: {reason}")]
    UnreadableAnswer {
        /// The query's name.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There was no connection to the broker in time, it went while the answer was waited for, or
    /// the bus was stopped. A responder may have had the query.
    #[error("the connection to the broker was lost while `{name}` was asked")]
    Disconnected {
        /// The query's name.
        name: &'static str,
    },
}

impl<R> RequestError<R> {
    /// The error's name in spans and metrics.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Encode(_) => "unencodable",
            Self::NobodyAnswers { .. } => "nobody_answers",
            Self::TimedOut { .. } => "timed_out",
            Self::Refused(_) => ReplyOutcome::Refused.as_str(),
            Self::Failed { .. } => ReplyOutcome::Failed.as_str(),
            Self::UnreadableAnswer { .. } => "unreadable",
            Self::Disconnected { .. } => "disconnected",
        }
    }
}
