//! From the outbox to the broker.
//!
//! One instance of a service leads: it holds an advisory lock, reads the outbox in order,
//! publishes with pipelined confirms, and deletes what was confirmed. The others stand by: they
//! notify the leader of their commits, and take over when its database session ends, which the
//! server sees to within seconds when the leader is stopped or cut off (see [`lease`](crate::lease)).
//!
//! Deleting on confirm, instead of storing a position, is what makes commits that come out of order
//! harmless: a row that becomes visible late is simply still there.
//!
//! A message that the broker refuses is moved to a table of its own and retried there, so that it
//! blocks no other message.

mod breakers;
mod depths;
mod handing_over;
mod leader;
mod listening;
mod lock;
mod pace;
mod problems;
mod reading;
mod refusals;
mod rounds;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use self::leader::Leader;
use crate::conditions::Conditions;
use crate::lease;
use crate::settings::BusSettings;
use crate::signals;
use crate::transport::Transport;
use crate::unit_of_work::Publisher;

/// After the database failed: before the next try to lead.
const DATABASE_RETRY: Duration = Duration::from_millis(500);
/// The least time between two notifications of a standby. A burst of commits is one of them.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(5);
/// How often a standby tries to lead at least, however long the poll interval is.
const LONGEST_STAND_BY: Duration = Duration::from_secs(2);
/// The subject of the condition that the relay's database fails.
const SUBJECT: &str = "relay";

/// What a relay works with.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    pub(crate) pool: PgPool,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) settings: BusSettings,
    pub(crate) conditions: Conditions,
}

impl Relay {
    /// Leads or stands by until shut down. In-flight messages are settled before it returns.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        // A gauge that nobody has set is missing from sums.
        signals::leading(false);
        tokio::select! {
            () = self.take_turns(&shutdown) => {}
            never = waiting::watch(&self) => match never {},
        }
    }

    async fn take_turns(&self, shutdown: &CancellationToken) {
        let mut timed_out = false;
        while !shutdown.is_cancelled() {
            if let Err(error) = self.take_turn(shutdown, timed_out).await {
                let reason = format!("the database fails ({error}); no message is published");
                self.conditions.raise(SUBJECT, reason);
                timed_out = lease::is_timeout(&error);
                let pause = tokio::time::sleep(DATABASE_RETRY);
                shutdown.run_until_cancelled(pause).await;
            } else {
                timed_out = false;
            }
        }
    }

    /// Leads, or stands by until it is time to try again. `timed_out` says that the last turn ended
    /// because a statement took too long.
    async fn take_turn(
        &self,
        shutdown: &CancellationToken,
        timed_out: bool,
    ) -> Result<(), sqlx::Error> {
        let Some(lease) = lock::try_lead(&self.pool).await? else {
            self.stand_by(shutdown).await?;
            self.conditions.clear(SUBJECT);
            return Ok(());
        };
        tracing::debug!("leading the relay");
        let mut leader = Leader::new(self, lease);
        if timed_out {
            leader.be_careful();
        }
        let led = tokio::select! {
            led = leader.lead(shutdown) => led,
            never = listening::listen(self) => match never {},
            never = depths::report(&self.pool) => match never {},
        };
        if led.is_ok() {
            leader.resign().await;
        }
        led
    }

    /// Notifies the leader of commits until it is time to try for the lead again.
    async fn stand_by(&self, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
        let channel = lock::channel(&self.pool).await?;
        let time = self.settings.poll_interval.min(LONGEST_STAND_BY);
        let until = tokio::time::sleep(time.max(NOTIFY_INTERVAL));
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = self.publisher.relay.rung() => {}
                () = self.publisher.clock.rung() => {}
                () = &mut until => return Ok(()),
                () = shutdown.cancelled() => return Ok(()),
            }
            lock::notify(&self.pool, &channel).await?;
            tokio::time::sleep(NOTIFY_INTERVAL).await;
        }
    }
}
