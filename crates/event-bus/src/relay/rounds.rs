//! Refused messages that are published again, apart from all others.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

use crate::envelope::Envelope;
use crate::lease::{LeasedSession, in_time};
use crate::refused::{self, Destination};
use crate::signals;
use crate::transport::{Refusal, RefusalScope, Settlement, Transport};

/// After this time without a confirm it is unknown whether the messages arrived.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

pub(super) type Rounds = FuturesUnordered<BoxFuture<'static, Round>>;

/// Messages of one destination that were published together.
pub(super) struct Round {
    pub(super) destination: Destination,
    /// Whether this is the retry of one message that was refused for what it is itself.
    pub(super) is_retry: bool,
    pub(super) rows: Vec<(i64, Settlement)>,
}

/// Publishes messages of one destination. There has to be at least one.
pub(super) async fn publish(
    transport: Arc<dyn Transport>,
    destination: Destination,
    is_retry: bool,
    messages: Vec<(i64, Envelope)>,
) -> Round {
    let (positions, envelopes): (Vec<i64>, Vec<_>) = messages.into_iter().unzip();
    let settlements = timeout(SETTLED_WITHIN, transport.publish_apart(envelopes)).await;
    let unsettled = || vec![Settlement::Failed("no confirm in time".to_owned()); positions.len()];
    let settlements = settlements.unwrap_or_else(|_| unsettled());
    Round {
        destination,
        is_retry,
        rows: positions.into_iter().zip(settlements).collect(),
    }
}

/// What became of a round.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    confirmed: Vec<i64>,
    unroutable: Vec<i64>,
    pub(super) refused: Vec<(i64, Refusal)>,
    /// Whether one of several messages was refused, and it is unknown which.
    is_suspected: bool,
    /// Whether it is unknown of a message whether it arrived.
    pub(super) is_failed: bool,
}

impl Outcome {
    pub(super) fn of(rows: Vec<(i64, Settlement)>) -> Self {
        let is_alone = rows.len() == 1;
        let mut outcome = Self::default();
        for (position, settlement) in rows {
            match settlement {
                Settlement::Confirmed => outcome.confirmed.push(position),
                Settlement::Unroutable => outcome.unroutable.push(position),
                Settlement::Refused(refusal) => outcome.refused.push((position, refusal)),
                Settlement::Suspected(refusal) if is_alone => {
                    outcome.refused.push((position, refusal));
                }
                Settlement::Suspected(_) => outcome.is_suspected = true,
                Settlement::Failed(_) => outcome.is_failed = true,
            }
        }
        outcome
    }

    /// Whether a message was refused.
    pub(super) fn has_culprit(&self) -> bool {
        self.is_suspected || !self.refused.is_empty()
    }

    /// Why the destination is refused, if it is.
    pub(super) fn refusal_of_destination(&self) -> Option<Refusal> {
        let mut refusals = self.refused.iter().map(|(_, refusal)| refusal);
        refusals
            .find(|refusal| refusal.scope == RefusalScope::Destination)
            .cloned()
    }

    /// Writes it to the table.
    pub(super) async fn store(&self, lease: &mut LeasedSession) -> Result<(), sqlx::Error> {
        signals::sent(self.confirmed.len(), None);
        signals::sent(self.unroutable.len(), Some("unroutable"));
        if !self.confirmed.is_empty() {
            in_time(refused::delete(lease.connection(), &self.confirmed)).await?;
        }
        if !self.unroutable.is_empty() {
            let unroutable = refused::make_unroutable(lease.connection(), &self.unroutable);
            in_time(unroutable).await?;
        }
        for alike in self.refused.chunk_by(|(_, one), (_, other)| one == other) {
            let positions: Vec<i64> = alike.iter().map(|(position, _)| *position).collect();
            let (_, refusal) = &alike[0];
            signals::refused(positions.len(), &refusal.error);
            let again = refused::refuse_again(lease.connection(), &positions, refusal);
            in_time(again).await?;
        }
        Ok(())
    }
}
