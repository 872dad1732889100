//! A query and its reply as AMQP 0-9-1 properties.
//!
//! A query is an envelope like any other, with `reply_to`, `correlation_id` and, as its
//! `expiration`, the time its asker waits. A reply carries the query's correlation id and says in
//! the header `cloudEvents_outcome` what it is: `answered`, `refused` or `failed`. Its body is JSON.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Uuid;

use crate::envelope::{Envelope, TraceContext};
use crate::message::Kind;
use crate::transport::queries::LONGEST_WAIT;
use crate::transport::rabbitmq::wire;
use crate::transport::{Desk, NoReply, Reply, ReplyOutcome};

/// The pseudo-queue a reply comes by. In a delivered query the asker's address follows the name.
pub(super) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

const TRANSIENT: u8 = 1;

/// The properties of a query whose asker waits for so long.
pub(super) fn query_properties(query: &Envelope, time_left: Duration) -> BasicProperties {
    wire::properties(query)
        .with_delivery_mode(TRANSIENT)
        .with_reply_to(REPLY_TO.into())
        .with_correlation_id(query.id.to_string().into())
        // Zero would be: only if somebody is free right now.
        .with_expiration(time_left.as_millis().max(1).to_string().into())
}

/// How long the asker of a delivered query waits at the longest, counted from its delivery.
pub(super) fn time_left(query: &BasicProperties) -> Duration {
    let expiration = query.expiration().as_ref();
    expiration
        .and_then(|millis| millis.as_str().parse().ok())
        .map_or(LONGEST_WAIT, Duration::from_millis)
        .min(LONGEST_WAIT)
}

/// What a reply says of the query it is for.
#[derive(Debug)]
pub(super) struct Returning {
    /// Where it goes, if that is an asker's address and not just any queue.
    pub(super) address: Option<ShortString>,
    correlation_id: Option<ShortString>,
    lineage: Option<(Uuid, Uuid, TraceContext)>,
}

impl Returning {
    /// What has to be known of a query to reply to it.
    pub(super) fn of(properties: &BasicProperties) -> Self {
        let is_asker = |address: &ShortString| {
            let rest = address.as_str().strip_prefix(REPLY_TO);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let correlation_id = properties.correlation_id().clone();
        Self {
            address: properties.reply_to().clone().filter(is_asker),
            correlation_id: correlation_id.or_else(|| properties.message_id().clone()),
            lineage: None,
        }
    }

    pub(super) fn caused_by(&mut self, query: &Envelope) {
        self.lineage = Some((query.correlation_id, query.id, query.trace.clone()));
    }

    /// The properties of the reply that a desk gives.
    pub(super) fn properties(&self, desk: &Desk, outcome: ReplyOutcome) -> BasicProperties {
        let id = Uuid::now_v7();
        let lineage = self.lineage.clone();
        let (correlation_id, causation_id, trace) = match lineage {
            Some((correlation_id, cause, trace)) => (correlation_id, Some(cause), trace),
            None => (id, None, TraceContext::default()),
        };
        let properties = wire::properties(&Envelope {
            id,
            name: format!("{}.reply", desk.query),
            version: 1,
            kind: Kind::Query,
            source: desk.service.clone(),
            time: Timestamp::now(),
            partition_key: None,
            correlation_id,
            causation_id,
            trace,
            mandatory: false,
            body: Bytes::new(),
        });
        let mut headers = properties.headers().clone().unwrap_or_default();
        headers.insert(
            outcome_header(),
            AMQPValue::LongString(outcome.as_str().into()),
        );
        let properties = properties
            .with_headers(headers)
            .with_delivery_mode(TRANSIENT);
        match &self.correlation_id {
            Some(id) => properties.with_correlation_id(id.clone()),
            None => properties,
        }
    }
}

/// Which query a reply is for, and what it is.
pub(super) fn read_reply(delivery: Delivery) -> Option<(Uuid, Result<Reply, NoReply>)> {
    let correlation_id = delivery.properties.correlation_id().as_ref()?;
    let query = Uuid::parse_str(correlation_id.as_str()).ok()?;
    let headers = delivery.properties.headers().as_ref();
    let reply = match headers.and_then(outcome) {
        Some(outcome) => Ok(Reply {
            outcome,
            body: Bytes::from(delivery.data),
        }),
        None => Err(NoReply::Malformed(
            "it does not say whether it is an answer".to_owned(),
        )),
    };
    Some((query, reply))
}

fn outcome(headers: &FieldTable) -> Option<ReplyOutcome> {
    let value = match headers.inner().get(outcome_header().as_str())? {
        AMQPValue::LongString(value) => value.to_string(),
        AMQPValue::ShortString(value) => value.to_string(),
        _ => return None,
    };
    let outcomes = [
        ReplyOutcome::Answered,
        ReplyOutcome::Refused,
        ReplyOutcome::Failed,
    ];
    outcomes.into_iter().find(|o| o.as_str() == value)
}

fn outcome_header() -> ShortString {
    ShortString::from(format!("{}outcome", wire::PREFIX))
}
