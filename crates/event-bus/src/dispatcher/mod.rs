//! From the transport to the handlers.
//!
//! What has arrived, up to a batch, is handled in one transaction: inbox rows, handlers, the
//! messages they publish, one commit; then it is acknowledged. If anything in the batch fails it
//! is rolled back and each message is handled by itself, so that one message's failure is its own.
//!
//! A message is acknowledged when each of its handlers has either committed its effect or the
//! message is stored for it, as a retry, behind a held key, or as a dead letter. If the database is
//! away nothing of this can be, and the message is kept unacknowledged until it is back.

mod alone;
mod batch;
mod retrier;
mod span;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::consumer_group::GroupSettings;
use crate::handler_entry::HandlerFailure;
use crate::kill_switch::Switches;
use crate::registry::Registry;
use crate::sessions::{Attempts, is_outdated_statement};
use crate::transport::{Delivery, Receipt, Subscription};
use crate::unit_of_work::{Publisher, UnitOfWork};
use crate::wake::WakeUp;
use crate::{outage, signals};

pub(crate) use self::retrier::run as run_retrier;

/// While the database is away: from the first try to the longest pause.
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
}

/// Why a message is not settled.
#[derive(Debug)]
enum Unsettled {
    /// The database is away, or refuses everything. Nothing is known of the message.
    Outage(sqlx::Error),
    /// A prepared statement of the session is older than the schema. The same work succeeds on
    /// another session.
    Outdated(HandlerFailure),
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

impl Dispatcher {
    /// Handles what arrives until shut down, finishing the batch at hand. Several of these may
    /// share one subscription.
    pub(crate) async fn run(
        self: Arc<Self>,
        subscription: Arc<Mutex<Subscription>>,
        shutdown: CancellationToken,
    ) {
        let mut arrived = Vec::new();
        loop {
            let receive = async {
                let mut subscription = subscription.lock().await;
                let deliveries = &mut subscription.deliveries;
                deliveries
                    .recv_many(&mut arrived, self.settings.batch)
                    .await
            };
            match shutdown.run_until_cancelled(receive).await {
                None | Some(0) => return,
                Some(_) => self.settle(std::mem::take(&mut arrived), &shutdown).await,
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
                Some(Ok(1..)) => self.settle(std::mem::take(&mut arrived), shutdown).await,
                None | Some(Ok(0) | Err(_)) => return,
            }
        }
    }

    /// Handles what arrived together. What is not settled when it returns was interrupted by the
    /// shutdown and will be delivered again.
    async fn settle(&self, arrived: Vec<Delivery>, shutdown: &CancellationToken) {
        signals::consumed(&self.group, arrived.len());
        let (messages, unreadable) = batch::sort_out(arrived, &self.registry);
        for letter in unreadable {
            let bury = || self.bury_unreadable(&letter);
            if self.insist(shutdown, &letter.body, bury).await {
                Receipt::acknowledge(&[letter.receipt]).await;
            }
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
                    ?unsettled,
                    messages = messages.len(),
                    "handling messages one by one after the batch failed"
                );
                for message in messages {
                    let handle = || self.handle_alone(&message.envelope);
                    if self.insist(shutdown, &message.envelope.body, handle).await {
                        Receipt::acknowledge(&[message.receipt]).await;
                    }
                }
            }
        }
    }

    /// Tries until the database lets it happen. Returns whether it did before the shutdown.
    ///
    /// What the database would never store must not block what is behind: after some tries the
    /// body alone goes to the dead letters. Any other error, such as a deadlock or a table that is
    /// not there yet, is waited out.
    async fn insist<F>(
        &self,
        shutdown: &CancellationToken,
        body: &[u8],
        attempt: impl Fn() -> F,
    ) -> bool
    where
        F: Future<Output = Result<(), sqlx::Error>>,
    {
        let mut sessions = Attempts::on(&self.pool);
        let mut pause = FIRST_PAUSE;
        let mut refusals = 0;
        loop {
            let Err(error) = attempt().await else {
                return true;
            };
            if sessions.spend_on(&error) {
                continue;
            }
            if pause == FIRST_PAUSE {
                tracing::warn!(%error, "messages wait for the database");
            }
            if outage::is_refusal_of_data(&error) {
                refusals += 1;
                if refusals >= MOST_REFUSALS && self.bury_body(body).await.is_ok() {
                    return true;
                }
            }
            let wait = tokio::time::sleep(pause);
            if shutdown.run_until_cancelled(wait).await.is_none() {
                return false;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn begin(&self) -> Result<UnitOfWork, sqlx::Error> {
        UnitOfWork::begin(&self.pool, self.publisher.clone()).await
    }
}
