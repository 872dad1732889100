//! From the transport to the handlers.
//!
//! What has arrived, up to a batch, is handled in one transaction: inbox rows, handlers, the
//! messages they publish, one commit; then it is acknowledged. If anything in the batch fails it
//! is rolled back and each message is handled by itself, so that one message's failure is its own.
//!
//! A message is acknowledged when each of its handlers has either committed its effect or the
//! message is stored for it, as a retry, behind a held key, or as a dead letter. While the database
//! is unavailable nothing of this is possible, and the message stays unacknowledged.
//!
//! A message that another transaction has claimed and not committed is being handled there. It is
//! put aside unacknowledged until that transaction has ended (see [`parking`]). In an ordered group
//! a message with a key is waited for instead, with all of its partition: whether the messages
//! behind it may be handled depends on what becomes of it.

mod alone;
mod batch;
mod given_up;
mod parking;
mod retrier;
mod span;
mod suspects;
mod waiting;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::alone::Outcome;
use self::batch::{Arrival, Sorted};
use crate::conditions::Conditions;
use crate::consumer_group::GroupSettings;
use crate::database_fault::DatabaseFault;
use crate::handler_entry::HandlerFailure;
use crate::inbox::ClaimError;
use crate::kill_switch::Switches;
use crate::registry::Registry;
use crate::sessions::{Attempts, is_outdated_statement};
use crate::transport::{Delivery, Receipt, Subscription};
use crate::unit_of_work::{Publisher, UnitOfWork};
use crate::wake::WakeUp;
use crate::{error_text, signals};

pub(crate) use self::parking::{Parking, run as run_parking};
pub(crate) use self::retrier::run as run_retrier;

/// While the database is unavailable or a claim is held: from the first to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the database may refuse the data of a message.
const MOST_REFUSALS: u32 = 5;

/// What handling the messages of a consumer group works with.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    /// The group's name.
    pub(crate) group: String,
    pub(crate) pool: PgPool,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) registry: Registry,
    pub(crate) settings: GroupSettings,
    pub(crate) switches: Switches,
    /// Rung when a retry was stored.
    pub(crate) retry_stored: WakeUp,
    /// Where deliveries wait whose claim is held elsewhere.
    pub(crate) parking: Parking,
    /// Where it is noted that the group waits for the database.
    pub(crate) conditions: Conditions,
}

/// Why a message is not settled.
#[derive(Debug)]
enum Unsettled {
    /// The database is unavailable, or refuses everything. Nothing is known of the message.
    Outage(sqlx::Error),
    /// A prepared statement of the session is older than the schema. The same work succeeds on
    /// another session.
    Outdated(HandlerFailure),
    /// Another transaction holds the claim of a message.
    ClaimHeld,
    /// The handler failed.
    Failed(HandlerFailure),
}

impl From<sqlx::Error> for Unsettled {
    fn from(error: sqlx::Error) -> Self {
        if is_outdated_statement(&error) {
            Self::Outdated(HandlerFailure::Handler(error.into()))
        } else {
            Self::Outage(error)
        }
    }
}

impl From<ClaimError> for Unsettled {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::HeldElsewhere => Self::ClaimHeld,
            ClaimError::Database(error) => Self::Outage(error),
        }
    }
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outage(error) => f.write_str(&error_text::line(error)),
            Self::ClaimHeld => f.write_str("another transaction is handling one of the messages"),
            Self::Outdated(failure) | Self::Failed(failure) => {
                f.write_str(&failure.reasons().join(": "))
            }
        }
    }
}

/// What came of insisting.
#[derive(Debug)]
enum Settling<T> {
    Done(T),
    /// The database refuses the message; its body is a dead letter.
    BodyBuried,
}

/// What a worker does with a message whose claim is held elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenHeld {
    /// It puts the message aside, unless the message has its order here.
    PutAside,
    /// It waits.
    Wait,
}

impl Dispatcher {
    /// Handles what arrives until shut down, finishing the batch at hand. Several of these may
    /// share one subscription.
    pub(crate) async fn run(
        self: Arc<Self>,
        subscription: Arc<Mutex<Subscription>>,
        shutdown: CancellationToken,
    ) {
        let (mut arrived, mut released) = (Vec::new(), Vec::new());
        let most = self.settings.batch;
        loop {
            let receive = async {
                let mut subscription = subscription.lock().await;
                let deliveries = &mut subscription.deliveries;
                deliveries.recv_many(&mut arrived, most).await
            };
            let receive = async {
                tokio::select! {
                    received = receive => received,
                    released = self.parking.recv_many(&mut released, most) => released,
                }
            };
            match shutdown.run_until_cancelled(receive).await {
                None | Some(0) => return,
                Some(_) => {
                    signals::consumed(&self.group, arrived.len());
                    arrived.append(&mut released);
                    let deliveries = std::mem::take(&mut arrived);
                    self.settle(deliveries, WhenHeld::PutAside, &shutdown).await;
                }
            }
        }
    }

    /// Handles what is left in a queue, until nothing more comes within `quiet`.
    pub(crate) async fn drain(
        &self,
        subscription: &mut Subscription,
        quiet: Duration,
        shutdown: &CancellationToken,
    ) {
        let mut arrived = Vec::new();
        loop {
            let deliveries = &mut subscription.deliveries;
            let receive = deliveries.recv_many(&mut arrived, self.settings.batch);
            let receive = tokio::time::timeout(quiet, receive);
            match shutdown.run_until_cancelled(receive).await {
                Some(Ok(1..)) => {
                    signals::consumed(&self.group, arrived.len());
                    let deliveries = std::mem::take(&mut arrived);
                    self.settle(deliveries, WhenHeld::Wait, shutdown).await;
                }
                None | Some(Ok(0) | Err(_)) => return,
            }
        }
    }

    /// Handles what arrived together. What is not settled when it returns was interrupted by the
    /// shutdown and will be delivered again.
    async fn settle(
        &self,
        arrived: Vec<Delivery>,
        when_held: WhenHeld,
        shutdown: &CancellationToken,
    ) {
        let Sorted {
            messages,
            given_up,
            unreadable,
        } = batch::sort_out(arrived, &self.registry);
        for letter in unreadable {
            let bury = || self.bury_unreadable(&letter);
            if self.insist(shutdown, &letter.body, bury).await.is_some() {
                Receipt::acknowledge(&[letter.receipt]).await;
            }
        }
        for message in given_up {
            self.settle_alone(message, true, when_held, shutdown).await;
        }
        if messages.is_empty() {
            return;
        }
        match self.handle_together(&messages).await {
            Ok(()) => {
                let receipts: Vec<_> = messages.into_iter().map(|m| m.receipt).collect();
                Receipt::acknowledge(&receipts).await;
            }
            Err(unsettled) => {
                tracing::debug!(
                    error = unsettled.to_string(),
                    messages = messages.len(),
                    "handling messages one by one after the batch failed"
                );
                for message in messages {
                    self.settle_alone(message, false, when_held, shutdown).await;
                }
            }
        }
    }

    /// Settles one message by itself and acknowledges it, or puts it aside.
    async fn settle_alone(
        &self,
        message: Arrival,
        given_up: bool,
        when_held: WhenHeld,
        shutdown: &CancellationToken,
    ) {
        let body = &message.envelope.body;
        let in_order = self.key_of(&message.envelope).is_some();
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = if given_up {
                let store = || self.store_given_up(&message.envelope);
                self.insist(shutdown, body, store).await
            } else {
                let handle = || self.handle_alone(&message.envelope);
                self.insist(shutdown, body, handle).await
            };
            match outcome {
                None => return,
                Some(Settling::Done(Outcome::Settled) | Settling::BodyBuried) => {
                    return Receipt::acknowledge(&[message.receipt]).await;
                }
                Some(Settling::Done(Outcome::ClaimHeld)) => {}
            }
            if when_held == WhenHeld::PutAside && !in_order {
                return self.parking.park(message.into_delivery(given_up));
            }
            let wait = tokio::time::sleep(pause);
            if shutdown.run_until_cancelled(wait).await.is_none() || !message.receipt.is_open() {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Tries until the database lets it happen. Returns `None` if the shutdown came before.
    ///
    /// What the database would never store must not block what is behind: after some tries the
    /// body alone goes to the dead letters. Any other error, such as a deadlock or a table that is
    /// not there yet, is waited out.
    async fn insist<T, F>(
        &self,
        shutdown: &CancellationToken,
        body: &[u8],
        attempt: impl Fn() -> F,
    ) -> Option<Settling<T>>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let mut sessions = Attempts::on(&self.pool);
        let subject = format!("group {}", self.group);
        let mut pause = FIRST_PAUSE;
        let mut refusals = 0;
        loop {
            let error = match attempt().await {
                Ok(done) => {
                    if pause > FIRST_PAUSE {
                        self.conditions.clear(&subject);
                    }
                    return Some(Settling::Done(done));
                }
                Err(error) => error,
            };
            if sessions.spend_on(&error) {
                continue;
            }
            let reason = error_text::line(&error);
            let reason = format!("messages wait for the database: {reason}");
            self.conditions.raise(&subject, reason);
            if DatabaseFault::of(&error) == DatabaseFault::RefusedData {
                refusals += 1;
                if refusals >= MOST_REFUSALS && self.bury_body(body).await.is_ok() {
                    self.conditions.clear(&subject);
                    return Some(Settling::BodyBuried);
                }
            }
            let wait = tokio::time::sleep(pause);
            if shutdown.run_until_cancelled(wait).await.is_none() {
                self.conditions.clear(&subject);
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn begin(&self) -> Result<UnitOfWork, sqlx::Error> {
        UnitOfWork::begin(&self.pool, self.publisher.clone()).await
    }
}
