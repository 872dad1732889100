//! Asynchronous work in `Drop`.

use std::time::Duration;

/// How long one clean-up may take: a test whose server is gone must still end.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs `work` to its end on a thread and runtime of its own.
///
/// `drop` can't wait for a future, and a test's runtime may be single-threaded, unwinding from a
/// panic or already shutting down. A thread of its own works in each of these. What fails is
/// passed over: the owner of a dropped value has no use for the error.
pub(crate) fn run_to_end(work: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(async { tokio::time::timeout(LIMIT, work).await.ok() });
        }
    });
    // A panic in there was already printed by the thread; a second one here would abort the test.
    drop(thread.join());
}
