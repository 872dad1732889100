//! What can be asked and done about a replica.

use super::ReplicaStore;
use super::storage;
use crate::bus::EventBus;
use crate::sessions;

impl EventBus {
    /// Whether a replica is complete: it has had all that its owner had, and keeps up by events.
    ///
    /// # Errors
    ///
    /// If the database fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn replica_filled<S: ReplicaStore>(&self) -> Result<bool, sqlx::Error> {
        let progress = sessions::run!(&self.pool, |connection| storage::find(connection, S::NAME))?;
        Ok(progress.is_some_and(|progress| progress.is_filled))
    }

    /// Has a replica filled anew, by whichever instance comes first: for one that was damaged, or
    /// whose queue was lost. It returns at once.
    ///
    /// Nothing is taken away before: those who read see what there was, then each entity as it is
    /// now, and never an older version. What the owner no longer has is removed at the end.
    ///
    /// # Errors
    ///
    /// If the database fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the replica is to be filled again or it is not, in one
    /// transaction.
    pub async fn refill<S: ReplicaStore>(&self) -> Result<(), sqlx::Error> {
        sessions::transact!(&self.pool, |connection| storage::refill(
            connection,
            S::NAME
        ))?;
        for replica in self.replicas.iter().filter(|r| r.name == S::NAME) {
            replica.set_filled(false);
            replica.wanted.ring();
        }
        Ok(())
    }
}
