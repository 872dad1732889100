//! Database sessions: how the bus borrows them from the pool, and in which state it returns them.
//!
//! The pool may be shared with code that the bus does not know, and a future may be dropped at any
//! await point. Three rules keep both from doing harm:
//!
//! - A transaction begins with [`Session::begin`]. sqlx notes that a transaction is open only when
//!   the server has answered BEGIN; a future that is dropped earlier would put a session back into
//!   the pool whose transaction stays open, and every later statement on it would stay uncommitted.
//! - Whatever the bus writes, it commits explicitly ([`transact!`]), since a statement on a borrowed
//!   session need not be a transaction of its own.
//! - A session on which a statement failed drops its prepared statements before it is used again.
//!   The schema may have changed under them.

use std::error::Error as StdError;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgDatabaseError;
use sqlx::{Connection as _, Error, Executor as _, PgConnection, PgPool, Postgres, Transaction};
use tokio::runtime::Handle;

/// A transaction on a session of the pool. Dropping it rolls back.
pub(crate) struct Session(Option<Transaction<'static, Postgres>>);

impl Session {
    /// Begins a transaction. A future that is dropped leaves no open transaction behind.
    ///
    /// A session that somebody else left in a failed transaction is rolled back and used.
    pub(crate) async fn begin(pool: &PgPool) -> Result<Self, Error> {
        let connection = pool.acquire().await?;
        match Beginning::on(connection).await {
            Err(error) if is_left_open(&error) => {
                let mut connection = pool.acquire().await?;
                connection.execute("rollback").await?;
                Beginning::on(connection).await
            }
            begun => begun,
        }
    }

    /// Commits.
    ///
    /// Fails if the transaction has ended already: sqlx rolls all of it back when a nested `begin`
    /// fails or its future is dropped, and would commit nothing without an error.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.check_open()?;
        match self.0.take() {
            Some(transaction) => transaction.commit().await,
            None => Ok(()),
        }
    }

    /// Rolls back. What the transaction held is free when this returns.
    pub(crate) async fn rollback(mut self) -> Result<(), Error> {
        match self.0.take() {
            Some(transaction) => roll_back(transaction).await,
            None => Ok(()),
        }
    }

    /// Fails if the transaction has ended already, see [`commit`](Self::commit).
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_in_transaction() {
            Ok(())
        } else {
            Err(Error::Protocol(
                "the transaction was rolled back before its commit, because a nested `begin` \
                 failed or its future was dropped"
                    .to_owned(),
            ))
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(transaction) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(roll_back(transaction));
        }
    }
}

/// Rolls back. If a statement has failed, the session loses its prepared statements, too: one that
/// failed because the schema has changed would fail for as long as the session lives.
async fn roll_back(mut transaction: Transaction<'static, Postgres>) -> Result<(), Error> {
    let failed = transaction.execute("select").await.is_err();
    if failed && let Err(error) = transaction.clear_cached_statements().await {
        tracing::debug!(%error, "could not drop the prepared statements of a session");
    }
    transaction.rollback().await
}

impl Deref for Session {
    type Target = PgConnection;

    #[expect(
        clippy::expect_used,
        reason = "only what consumes the session takes it"
    )]
    fn deref(&self) -> &PgConnection {
        self.0
            .as_ref()
            .expect("a session has its transaction until it ends")
    }
}

impl DerefMut for Session {
    #[expect(
        clippy::expect_used,
        reason = "only what consumes the session takes it"
    )]
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0
            .as_mut()
            .expect("a session has its transaction until it ends")
    }
}

/// A BEGIN that is answered even if nobody waits for the answer any more.
struct Beginning(Option<BoxFuture<'static, Result<Transaction<'static, Postgres>, Error>>>);

impl Beginning {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is what makes it cancel safe"
    )]
    fn on(connection: PoolConnection<Postgres>) -> Self {
        Self(Some(Transaction::begin(connection, None)))
    }
}

impl Future for Beginning {
    type Output = Result<Session, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(begin) = &mut self.0 else {
            return Poll::Pending;
        };
        let begun = ready!(begin.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(begun.map(|transaction| Session(Some(transaction))))
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        // Without a runtime nothing runs any more, and the connection ends with the process.
        if let Some(begin) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { drop(begin.await) });
        }
    }
}

/// Ends a transaction that somebody else may have left open on a session that is kept for long.
///
/// For a detached connection: dropped in between, it closes. BEGIN comes first, since PostgreSQL
/// logs a warning for a ROLLBACK outside a transaction.
pub(crate) async fn end_foreign_transaction(connection: &mut PgConnection) -> Result<(), Error> {
    match connection.execute("begin").await {
        Err(error) if !is_left_open(&error) => return Err(error),
        _ => {}
    }
    connection.execute("rollback").await?;
    Ok(())
}

/// Runs statements that write in a transaction, again if the session's prepared statements are
/// older than the schema: `transact!(pool, |connection| future)`.
///
/// A macro, since the future of an asynchronous closure that borrows its argument can't be proven
/// to be `Send`.
macro_rules! transact {
    ($pool:expr, |$connection:ident| $write:expr) => {{
        let pool: &sqlx::PgPool = $pool;
        let mut attempts = $crate::sessions::Attempts::on(pool);
        loop {
            let mut session = match $crate::sessions::Session::begin(pool).await {
                Ok(session) => session,
                Err(error) => break Err(error),
            };
            let $connection: &mut sqlx::PgConnection = &mut session;
            match $write.await {
                Ok(written) => break session.commit().await.map(|()| written),
                Err(error) if !attempts.spend_on(&error) => break Err(error),
                Err(_) => {}
            }
        }
    }};
}

/// Runs a statement that only reads, or that must not be in a transaction, again on another session
/// if it is the session that makes it fail: `run!(pool, |connection| future)`.
macro_rules! run {
    ($pool:expr, |$connection:ident| $statement:expr) => {{
        let pool: &sqlx::PgPool = $pool;
        let mut attempts = $crate::sessions::Attempts::on(pool);
        loop {
            let mut session = match pool.acquire().await {
                Ok(session) => session,
                Err(error) => break Err(error),
            };
            let $connection: &mut sqlx::PgConnection = &mut session;
            match $statement.await {
                Ok(result) => break Ok(result),
                Err(error) => {
                    if $crate::sessions::is_unusable(&error) {
                        session.close_on_drop();
                    }
                    if !attempts.spend_on(&error) {
                        break Err(error);
                    }
                }
            }
        }
    }};
}

pub(crate) use {run, transact};

/// How often work may fail because of the session it runs on: each failure leaves one such session
/// less, so that as many as the pool has are enough.
pub(crate) struct Attempts(u32);

impl Attempts {
    pub(crate) fn on(pool: &PgPool) -> Self {
        Self(pool.options().get_max_connections())
    }

    /// Uses up one attempt. Returns false if none is left, or if the session is not to blame.
    pub(crate) fn spend_on(&mut self, error: &Error) -> bool {
        is_unusable(error) && self.spend()
    }

    /// Uses up one attempt. Returns false if none is left.
    pub(crate) fn spend(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// Whether a statement failed only because of the session it ran on.
pub(crate) fn is_unusable(error: &Error) -> bool {
    is_outdated_statement(error) || is_left_open(error)
}

/// Whether somebody left the session in a transaction: a failed one, or one that keeps a statement
/// from being a transaction of its own.
fn is_left_open(error: &Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == "25P02" || code == "25001")
}

/// Whether an error, or one of its causes, says that a prepared statement is older than the schema:
/// a column that it returns has another type now.
///
/// The statement had no effect, and the same work succeeds on a session that has not prepared it.
///
/// SQLSTATE 0A000 has other meanings, too, and the server translates the text. So this looks at the
/// name of the server's function that reports the error.
pub fn is_outdated_statement(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = as_database_error(error) {
            return error.try_downcast_ref().is_some_and(is_of_outdated_plan);
        }
        cause = error.source();
    }
    false
}

/// An error type that forwards its `source` hides the [`Error`] and shows what is in it.
fn as_database_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a dyn DatabaseError> {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.as_database_error();
    }
    if let Some(error) = error.downcast_ref::<Box<dyn DatabaseError>>() {
        return Some(error.as_ref());
    }
    let error = error.downcast_ref::<PgDatabaseError>()?;
    Some(error)
}

fn is_of_outdated_plan(error: &PgDatabaseError) -> bool {
    error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
}
