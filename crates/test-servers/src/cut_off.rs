//! Dropping a future at each of its await points.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long an answer to the last poll is waited for before the future is dropped without it.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// More await points than anything has that is worth the test.
const MOST_POLLS: usize = 500;

/// When a future is dropped, after it was polled for the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// At once: what it asked for is on its way.
    Asked,
    /// When it was woken: what it asked for has arrived, and it has not seen that.
    Answered,
}

/// Drops a call at each of its await points, one after the other, until it runs to its end: `call`
/// is called for each of them, and what it returned at last is given back.
///
/// # Panics
///
/// If the call has no end within 500 polls.
pub async fn cut_everywhere<F: Future>(what: &str, mut call: impl FnMut() -> F) -> F::Output {
    for polls in 1..=MOST_POLLS {
        for cut in [Cut::Asked, Cut::Answered] {
            if let Some(output) = cut_off(call(), polls, cut).await {
                return output;
            }
        }
    }
    panic!("{what} did not end within {MOST_POLLS} polls");
}

/// Polls a future until it ends, or so many times, with time for answers in between. Then it is
/// dropped.
async fn cut_off<F: Future>(future: F, polls: usize, cut: Cut) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polled = 0;
    let polling = poll_fn(|context| {
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let output = polling.await;
    if output.is_none() && cut == Cut::Answered {
        // The last poll has registered the waker of a task that is this one, so it is woken here.
        let mut woken = false;
        let waking = poll_fn(|_| match std::mem::replace(&mut woken, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        drop(tokio::time::timeout(LONGEST_WAIT, waking).await);
    }
    output
}
