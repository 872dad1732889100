//! From the outbox to the broker.
//!
//! One instance of a service leads: it holds an advisory lock, reads the outbox in order,
//! publishes with pipelined confirms, and deletes what was confirmed. The others stand by: they
//! pass the leader word of their commits, and take over when its database session ends.
//!
//! Deleting on confirm, instead of remembering how far it got, is what makes commits that come out
//! of order harmless: a row that becomes visible late is simply still there.

mod depths;
mod leader;
mod lock;
mod reading;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio_util::sync::CancellationToken;

use self::leader::Leader;
use crate::settings::BusSettings;
use crate::transport::Transport;
use crate::unit_of_work::Publisher;

/// After the database failed: before the next try to lead.
const DATABASE_RETRY: Duration = Duration::from_millis(500);
/// The least time between two notifications of a standby. A burst of commits is one of them.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(5);

/// What a relay works with.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    pub(crate) pool: PgPool,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) settings: BusSettings,
}

impl Relay {
    /// Leads or stands by until shut down. What is under way then is settled before it returns.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut failing = false;
        while !shutdown.is_cancelled() {
            match self.take_turn(&shutdown).await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the relay lost the database, trying on");
                    }
                    let pause = tokio::time::sleep(DATABASE_RETRY);
                    shutdown.run_until_cancelled(pause).await;
                }
            }
        }
    }

    async fn take_turn(&self, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
        let Some(connection) = lock::try_lead(&self.pool).await? else {
            return self.stand_by(shutdown).await;
        };
        let mut listener = self.connect_listener().await?;
        listener.listen(&lock::channel(&self.pool).await?).await?;
        tracing::debug!("leading the relay");
        let mut leader = Leader::new(self, connection);
        let led = tokio::select! {
            led = leader.lead(shutdown) => led,
            heard = self.hear(&mut listener) => heard,
            () = depths::tell(&self.pool) => Ok(()),
        };
        leader.resign().await;
        led
    }

    /// A listener on a session of its own. A session of the pool may be in a transaction that somebody
    /// else has left open, and LISTEN takes effect only when that commits.
    async fn connect_listener(&self) -> Result<PgListener, sqlx::Error> {
        let options = self.pool.connect_options();
        let own = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options.as_ref().clone());
        let mut listener = PgListener::connect_with(&own).await?;
        listener.ignore_pool_close_event(true);
        Ok(listener)
    }

    /// Rings the bells for what other instances have committed, until the connection fails.
    async fn hear(&self, listener: &mut PgListener) -> Result<(), sqlx::Error> {
        loop {
            listener.recv().await?;
            self.publisher.relay.ring();
            self.publisher.clock.ring();
        }
    }

    /// Passes on word of commits until it is time to try for the lead again.
    async fn stand_by(&self, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
        let channel = lock::channel(&self.pool).await?;
        let until = tokio::time::sleep(self.settings.poll_interval);
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
