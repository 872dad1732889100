//! The queries that are asked on one channel and not yet answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::transport::{NoReply, Reply};

type Answer = Result<Reply, NoReply>;
type Waiting = HashMap<Uuid, oneshot::Sender<Answer>>;

/// Who waits for what. Once it is closed, nobody does.
#[derive(Debug, Clone)]
pub(super) struct Pending(Arc<Mutex<Option<Waiting>>>);

/// A place among the pending queries. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Slot {
    pending: Pending,
    query: Uuid,
    answer: oneshot::Receiver<Answer>,
}

impl Pending {
    pub(super) fn open() -> Self {
        Self(Arc::new(Mutex::new(Some(Waiting::new()))))
    }

    /// A place for a query about to be asked; `None` if the channel is gone.
    pub(super) fn add(&self, query: Uuid) -> Option<Slot> {
        let (sender, answer) = oneshot::channel();
        self.lock().as_mut()?.insert(query, sender);
        Some(Slot {
            pending: self.clone(),
            query,
            answer,
        })
    }

    /// Whether somebody still waits for the answer.
    pub(super) fn contains(&self, query: &Uuid) -> bool {
        let waiting = self.lock();
        waiting.as_ref().is_some_and(|w| w.contains_key(query))
    }

    /// Gives the answer to whoever waits for it. If nobody does, it came late, or twice.
    pub(super) fn settle(&self, query: &Uuid, answer: Answer) {
        let waiting = self.lock().as_mut().and_then(|w| w.remove(query));
        match waiting {
            // Whoever waited may go at this very moment.
            Some(waiting) => drop(waiting.send(answer)),
            None => tracing::debug!(%query, "a reply that nobody waits for"),
        }
    }

    /// The channel is gone: nothing comes any more, for nobody.
    pub(super) fn close(&self) {
        for (_, waiting) in self.lock().take().into_iter().flatten() {
            let _ = waiting.send(Err(NoReply::Disconnected));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// What comes for the query.
    pub(super) async fn answer(mut self) -> Answer {
        (&mut self.answer)
            .await
            .unwrap_or(Err(NoReply::Disconnected))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(waiting) = self.pending.lock().as_mut() {
            waiting.remove(&self.query);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt as _;

    use super::*;
    use crate::transport::ReplyOutcome;

    fn count(pending: &Pending) -> usize {
        pending.lock().as_ref().map_or(0, HashMap::len)
    }

    fn reply(body: &'static str) -> Answer {
        Ok(Reply {
            outcome: ReplyOutcome::Answered,
            body: Bytes::from(body),
        })
    }

    #[tokio::test]
    async fn each_gets_its_own_and_what_nobody_waits_for_goes_nowhere() {
        let pending = Pending::open();
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        let first_slot = pending.add(first).expect("it is open");
        let second_slot = pending.add(second).expect("it is open");
        pending.settle(&Uuid::now_v7(), reply("nobody's"));
        pending.settle(&second, reply("second"));
        pending.settle(&second, reply("second again"));
        pending.settle(&first, reply("first"));
        assert_eq!(first_slot.answer().await, reply("first"));
        assert_eq!(second_slot.answer().await, reply("second"));
        assert_eq!(count(&pending), 0);
    }

    #[test]
    fn a_future_that_is_dropped_frees_its_slot() {
        let pending = Pending::open();
        let query = Uuid::now_v7();
        let mut waiting = Box::pin(pending.add(query).expect("it is open").answer());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(pending.contains(&query));
        drop(waiting);
        assert_eq!(count(&pending), 0);
    }

    #[tokio::test]
    async fn closing_tells_everybody_and_takes_nobody_on() {
        let pending = Pending::open();
        let slot = pending.add(Uuid::now_v7()).expect("it is open");
        pending.close();
        assert_eq!(slot.answer().await, Err(NoReply::Disconnected));
        assert!(pending.add(Uuid::now_v7()).is_none());
    }
}
