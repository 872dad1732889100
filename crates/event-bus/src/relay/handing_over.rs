//! A batch on its way to the transport.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::outbox::OutboxRow;
use crate::refused::Destination;
use crate::signals;
use crate::transport::{Settlement, Transport};

/// Rows that were handed to the transport together.
pub(super) struct Chunk {
    pub(super) rows: Vec<(i64, Settlement)>,
    /// Whether they were published apart from all others.
    pub(super) is_careful: bool,
    /// Of a single row that was published apart: its destination. If it was refused, then for what
    /// it is itself, or for its destination.
    pub(super) alone: Option<Destination>,
}

/// Rows that the transport is being given. That waits while there is no connection, and the leader
/// has to go on speaking to the database meanwhile.
pub(super) struct HandingOver(BoxFuture<'static, BoxFuture<'static, Chunk>>);

impl HandingOver {
    pub(super) fn begin(
        transport: Arc<dyn Transport>,
        rows: Vec<OutboxRow>,
        is_careful: bool,
    ) -> Self {
        let alone = match rows.as_slice() {
            [row] if is_careful => Some(Destination::of(&row.envelope)),
            _ => None,
        };
        let (positions, envelopes): (Vec<i64>, Vec<_>) = rows
            .into_iter()
            .map(|row| (row.position, row.envelope))
            .unzip();
        #[expect(
            clippy::async_yields_async,
            reason = "taking the rows and settling them are two things to wait for"
        )]
        let handing_over = async move {
            let confirms = if is_careful {
                // Everything given to the transport before is settled, so it may give up a channel
                // that failed. It reports that once, and here there is no message to report it for.
                transport.publish(Vec::new()).await.await;
                async move { transport.publish_apart(envelopes).await }.boxed()
            } else {
                transport.publish(envelopes).await
            };
            let handed_over = Instant::now();
            let settled = async move {
                let settlements = confirms.await;
                signals::published_in(handed_over.elapsed());
                Chunk {
                    rows: positions.into_iter().zip(settlements).collect(),
                    is_careful,
                    alone,
                }
            };
            settled.boxed()
        };
        Self(handing_over.boxed())
    }

    /// What resolves when the rows are settled, if the transport has taken them at once.
    pub(super) fn poll_once(&mut self) -> Option<BoxFuture<'static, Chunk>> {
        (&mut self.0).now_or_never()
    }

    /// Waits until the transport has taken the rows, and leaves nothing behind; forever, if there
    /// is nothing. May be dropped and called again.
    pub(super) async fn finish(current: &mut Option<Self>) -> BoxFuture<'static, Chunk> {
        let Some(handing_over) = current else {
            return std::future::pending().await;
        };
        let settled = (&mut handing_over.0).await;
        *current = None;
        settled
    }
}
