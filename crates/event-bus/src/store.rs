//! What a unit of work runs on.

use std::ops::{Deref, DerefMut};

use sqlx::{PgConnection, PgPool};

use crate::sessions::Session;

pub(crate) enum Store {
    Transaction(Session),
    /// No database at all: for tests of handlers that only publish.
    #[cfg(feature = "test-kit")]
    Detached {
        /// What was scheduled before, without what is cancelled.
        scheduled: std::collections::HashSet<uuid::Uuid>,
    },
}

impl Store {
    pub(crate) async fn begin(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self::Transaction(Session::begin(pool).await?))
    }

    /// Fails if the transaction has ended already, see [`Session::commit`].
    pub(crate) fn check_open(&self) -> Result<(), sqlx::Error> {
        match self {
            Self::Transaction(session) => session.check_open(),
            #[cfg(feature = "test-kit")]
            Self::Detached { .. } => Ok(()),
        }
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Transaction(transaction) => transaction.commit().await,
            #[cfg(feature = "test-kit")]
            Self::Detached { .. } => Ok(()),
        }
    }

    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Transaction(transaction) => transaction.rollback().await,
            #[cfg(feature = "test-kit")]
            Self::Detached { .. } => Ok(()),
        }
    }
}

/// A handler asks for the connection by dereferencing, which can't return an error; only in a test
/// without a database is there none.
#[cfg(feature = "test-kit")]
fn no_database() -> ! {
    panic!(
        "this unit of work has no database, since its handler is tested without one; \
         to test SQL, start a real EventBus over `event_bus::testing::TestTransport`"
    )
}

impl Deref for Store {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::Transaction(transaction) => transaction,
            #[cfg(feature = "test-kit")]
            Self::Detached { .. } => no_database(),
        }
    }
}

impl DerefMut for Store {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Transaction(transaction) => transaction,
            #[cfg(feature = "test-kit")]
            Self::Detached { .. } => no_database(),
        }
    }
}
