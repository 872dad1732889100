//! What is to go wrong next, and whether there is a connection.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::envelope::Envelope;
use crate::transport::Refusal;

/// A fault that the network makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The message does not arrive, and that is told.
    PublishFails,
    /// The message arrives, and the contrary is told.
    ConfirmIsLost,
    /// The message is delivered twice.
    Doubled,
    /// The acknowledgement does not arrive, so the message is delivered again.
    AcknowledgementIsLost,
}

/// Which messages are refused, and how.
struct Refusing {
    refusal: Refusal,
    which: Box<dyn FnMut(&Envelope) -> bool + Send>,
}

#[derive(Debug)]
pub(super) struct Faults {
    to_come: Mutex<Vec<(Fault, usize)>>,
    refusing: Mutex<Option<Refusing>>,
    /// Cancelled, and then replaced, when the connection is lost; `None` while there is none.
    connection: watch::Sender<Option<CancellationToken>>,
}

impl Faults {
    pub(super) fn none() -> Self {
        Self {
            to_come: Mutex::default(),
            refusing: Mutex::default(),
            connection: watch::Sender::new(Some(CancellationToken::new())),
        }
    }

    /// Lets it happen that often, next.
    pub(super) fn add(&self, fault: Fault, times: usize) {
        self.to_come().push((fault, times));
    }

    /// Whether it is to happen now. Counts it.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let mut to_come = self.to_come();
        let next = to_come
            .iter_mut()
            .find(|(f, times)| *f == fault && *times > 0);
        let strikes = next.map(|(_, times)| *times -= 1).is_some();
        to_come.retain(|(_, times)| *times > 0);
        strikes
    }

    /// Refuses messages from now on.
    pub(super) fn refuse(
        &self,
        refusal: Refusal,
        which: impl FnMut(&Envelope) -> bool + Send + 'static,
    ) {
        let which = Box::new(which);
        *self.refusing() = Some(Refusing { refusal, which });
    }

    /// Refuses nothing any more.
    pub(super) fn accept(&self) {
        *self.refusing() = None;
    }

    /// Why the message is refused, if it is.
    pub(super) fn refusal_of(&self, message: &Envelope) -> Option<Refusal> {
        let mut refusing = self.refusing();
        let refusing = refusing.as_mut()?;
        (refusing.which)(message).then(|| refusing.refusal.clone())
    }

    pub(super) fn cut(&self) {
        if let Some(lost) = self.connection.send_replace(None) {
            lost.cancel();
        }
    }

    pub(super) fn restore(&self) {
        self.connection.send_if_modified(|connection| {
            let is_cut = connection.is_none();
            connection.get_or_insert_default();
            is_cut
        });
    }

    pub(super) fn connected(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// Waits for a connection. What it gives is cancelled when that is lost.
    pub(super) async fn connection(&self) -> CancellationToken {
        let mut connection = self.connection.subscribe();
        let up = connection.wait_for(Option::is_some).await;
        // The sender is `self`, which is there.
        up.ok().and_then(|up| up.clone()).unwrap_or_default()
    }

    fn refusing(&self) -> MutexGuard<'_, Option<Refusing>> {
        self.refusing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn to_come(&self) -> MutexGuard<'_, Vec<(Fault, usize)>> {
        self.to_come.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Refusing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refusing").field(&self.refusal).finish()
    }
}
