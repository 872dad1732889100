//! The metrics of a bus: every name, its unit and its meaning. `docs/SIGNALS.md` explains them to
//! those who watch.
//!
//! Names that begin with `messaging.` are those of OpenTelemetry's
//! [messaging conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/).

use std::sync::Once;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{gauge, histogram};

const SENT: &str = "messaging.client.sent.messages";
const OPERATION_DURATION: &str = "messaging.client.operation.duration";
const CONSUMED: &str = "messaging.client.consumed.messages";
const PROCESS_DURATION: &str = "messaging.process.duration";
const REQUEST_DURATION: &str = "event_bus.request.duration";
const RESPOND_DURATION: &str = "event_bus.respond.duration";
const OUTBOX_DEPTH: &str = "event_bus.outbox.depth";
const OUTBOX_OLDEST_AGE: &str = "event_bus.outbox.oldest_age";
const OUTBOX_SCHEDULED: &str = "event_bus.outbox.scheduled";
const OUTBOX_UNROUTABLE: &str = "event_bus.outbox.unroutable";
const OUTBOX_REFUSED: &str = "event_bus.outbox.refused";
const RELAY_LEADING: &str = "event_bus.relay.leading";
const DUPLICATES: &str = "event_bus.inbox.duplicates";
const PARKED: &str = "event_bus.inbox.claims_held";
const GIVEN_UP: &str = "event_bus.given_up";
const RETRIES: &str = "event_bus.retries";
const RETRIES_WAITING: &str = "event_bus.retries.waiting";
const HELD: &str = "event_bus.held_messages";
const HELD_KEYS: &str = "event_bus.held_keys.waiting";
const DEAD_LETTERS: &str = "event_bus.dead_letters";
const DEAD_LETTERS_REMOVED: &str = "event_bus.dead_letters.removed";
const DEAD_LETTERS_WAITING: &str = "event_bus.dead_letters.waiting";
const HANDLER_PAUSED: &str = "event_bus.handler.paused";
const STRANDED: &str = "event_bus.stranded_messages";
const CONNECTS: &str = "event_bus.broker.connects";

/// Gives the recorder units and meanings, once in a process.
pub(crate) fn describe() {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        describe_counters();
        describe_gauges();
        describe_durations();
    });
}

fn describe_durations() {
    for (name, meaning) in [
        (
            OPERATION_DURATION,
            "From handing messages to the broker until all of them are settled.",
        ),
        (PROCESS_DURATION, "Time in a handler."),
        (REQUEST_DURATION, "A query, as its asker saw it."),
        (RESPOND_DURATION, "A query, as its responder saw it."),
    ] {
        describe_histogram!(name, Unit::Seconds, meaning);
    }
}

fn describe_counters() {
    for (name, meaning) in [
        (SENT, "Messages that the broker has settled."),
        (CONSUMED, "Deliveries that were taken from a queue."),
        (DUPLICATES, "Deliveries of what a handler had already."),
        (
            PARKED,
            "Deliveries that were put aside because another transaction handles the message.",
        ),
        (
            GIVEN_UP,
            "Messages that the broker gave up on and that were stored, for each handler.",
        ),
        (RETRIES, "Failures after which a message was stored."),
        (
            HELD,
            "Messages that were put behind another one of their key.",
        ),
        (DEAD_LETTERS, "Messages that went to the dead letters."),
        (DEAD_LETTERS_REMOVED, "Dead letters that are none any more."),
        (CONNECTS, "Connections to the broker that were made."),
    ] {
        describe_counter!(name, Unit::Count, meaning);
    }
}

fn describe_gauges() {
    for (name, unit, meaning) in [
        (
            OUTBOX_DEPTH,
            Unit::Count,
            "Messages that are committed and not yet confirmed.",
        ),
        (
            OUTBOX_OLDEST_AGE,
            Unit::Seconds,
            "How long the first message of the outbox has been there.",
        ),
        (
            OUTBOX_SCHEDULED,
            Unit::Count,
            "Messages that wait for their time.",
        ),
        (
            OUTBOX_UNROUTABLE,
            Unit::Count,
            "Messages that somebody must hear and nobody is bound for.",
        ),
        (
            OUTBOX_REFUSED,
            Unit::Count,
            "Messages that the broker refuses, and that are retried.",
        ),
        (
            RELAY_LEADING,
            Unit::Count,
            "1 on the instance whose relay publishes, 0 on the others.",
        ),
        (
            RETRIES_WAITING,
            Unit::Count,
            "Messages that wait for an attempt.",
        ),
        (
            HELD_KEYS,
            Unit::Count,
            "Keys that are held back by a message that failed.",
        ),
        (
            DEAD_LETTERS_WAITING,
            Unit::Count,
            "Dead letters that were neither replayed nor discarded.",
        ),
        (
            HANDLER_PAUSED,
            Unit::Count,
            "1 while a handler is paused because it fails nearly always.",
        ),
        (
            STRANDED,
            Unit::Count,
            "Messages that are stored for a handler that no running instance has.",
        ),
    ] {
        describe_gauge!(name, unit, meaning);
    }
}

/// The broker has settled messages: `None` if it confirmed them, else what went wrong.
pub(crate) fn sent(messages: usize, error: Option<&'static str>) {
    if messages == 0 {
        return;
    }
    match error {
        None => counter!(SENT, "messaging.operation.name" => "publish"),
        Some(error) => {
            counter!(SENT, "messaging.operation.name" => "publish", "error.type" => error)
        }
    }
    .increment(messages as u64);
}

/// The broker has refused messages: `error` is the kind of refusal.
pub(crate) fn refused(messages: usize, error: &str) {
    counter!(SENT, "messaging.operation.name" => "publish", "error.type" => error.to_owned())
        .increment(messages as u64);
}

/// How long the broker took for messages that were handed to it together.
pub(crate) fn published_in(elapsed: Duration) {
    histogram!(OPERATION_DURATION, "messaging.operation.name" => "publish").record(elapsed);
}

/// Deliveries were taken from the queue of a group.
pub(crate) fn consumed(group: &str, messages: usize) {
    counter!(CONSUMED, "messaging.consumer.group.name" => group.to_owned())
        .increment(messages as u64);
}

/// How long a handler took.
pub(crate) fn processed(handler: &'static str, elapsed: Duration) {
    histogram!(PROCESS_DURATION, "handler" => handler).record(elapsed);
}

/// How long a query took its asker, and what it came to.
pub(crate) fn requested(query: &'static str, outcome: &'static str, elapsed: Duration) {
    histogram!(REQUEST_DURATION, "query" => query, "outcome" => outcome).record(elapsed);
}

/// How long a query took its responder, and what it came to.
pub(crate) fn responded(query: &'static str, outcome: &'static str, elapsed: Duration) {
    histogram!(RESPOND_DURATION, "query" => query, "outcome" => outcome).record(elapsed);
}

/// Deliveries of messages that a handler had already.
pub(crate) fn duplicates(messages: usize) {
    if messages > 0 {
        counter!(DUPLICATES).increment(messages as u64);
    }
}

/// A delivery was put aside because another transaction holds its claim.
pub(crate) fn parked() {
    counter!(PARKED).increment(1);
}

/// A message that the broker gave up on was stored for so many handlers.
pub(crate) fn given_up(handlers: usize) {
    counter!(GIVEN_UP).increment(handlers as u64);
}

/// A message was stored for a later attempt.
pub(crate) fn retry_stored(handler: &str) {
    counter!(RETRIES, "handler" => handler.to_owned()).increment(1);
}

/// Messages were put behind another one of their key.
pub(crate) fn held(messages: usize) {
    counter!(HELD).increment(messages as u64);
}

/// A message went to the dead letters.
pub(crate) fn dead_letter(reason: &'static str) {
    counter!(DEAD_LETTERS, "reason" => reason).increment(1);
}

/// Dead letters were `replayed`, `discarded`, or have `expired`.
pub(crate) fn dead_letters_removed(how: &'static str, letters: u64) {
    counter!(DEAD_LETTERS_REMOVED, "how" => how).increment(letters);
}

/// A handler was paused, or resumed.
pub(crate) fn paused(handler: &str, is_paused: bool) {
    gauge!(HANDLER_PAUSED, "handler" => handler.to_owned()).set(if is_paused { 1.0 } else { 0.0 });
}

/// Messages are stored for a handler that no running instance has.
pub(crate) fn stranded(handler: &str, messages: i64) {
    gauge!(STRANDED, "handler" => handler.to_owned()).set(messages as f64);
}

/// A connection to the broker was made.
#[cfg(feature = "rabbitmq")]
pub(crate) fn connected(purpose: &'static str) {
    counter!(CONNECTS, "purpose" => purpose).increment(1);
}

/// This instance's relay publishes from now on, or no longer.
pub(crate) fn leading(is_leading: bool) {
    gauge!(RELAY_LEADING).set(if is_leading { 1.0 } else { 0.0 });
}

/// What waits in the tables of a service.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waiting {
    pub(crate) outbox: i64,
    /// In seconds.
    pub(crate) oldest_age: f64,
    pub(crate) scheduled: i64,
    pub(crate) unroutable: i64,
    pub(crate) refused: i64,
    pub(crate) retries: i64,
    pub(crate) held_keys: i64,
    pub(crate) dead_letters: i64,
}

/// What waits in the tables. Only the leading instance tells, so that sums over instances are true.
pub(crate) fn waiting(waiting: Waiting) {
    gauge!(OUTBOX_DEPTH).set(waiting.outbox as f64);
    gauge!(OUTBOX_OLDEST_AGE).set(waiting.oldest_age);
    gauge!(OUTBOX_SCHEDULED).set(waiting.scheduled as f64);
    gauge!(OUTBOX_UNROUTABLE).set(waiting.unroutable as f64);
    gauge!(OUTBOX_REFUSED).set(waiting.refused as f64);
    gauge!(RETRIES_WAITING).set(waiting.retries as f64);
    gauge!(HELD_KEYS).set(waiting.held_keys as f64);
    gauge!(DEAD_LETTERS_WAITING).set(waiting.dead_letters as f64);
}
