//! Automatic events: what everybody may know of an entity, sent whenever it changes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::message::{Event, Message};

/// The public picture of an entity, as other services keep it in their replicas.
///
/// Configuring an entity for automatic events means naming its three events here and storing it
/// through a `Repository`, which publishes them. Its replicas elsewhere are filled through the
/// query that is named here as well.
///
/// Ids are used once: an entity that was deleted does not come back under the id it had.
pub trait EntityEto: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Name of the event for a new entity, such as `catalog.product.created`.
    const CREATED: &'static str;
    /// Name of the event for a changed entity.
    const UPDATED: &'static str;
    /// Name of the event for an entity that is gone.
    const DELETED: &'static str;
    /// Name of the query for a page of all entities there are, such as
    /// `catalog.product.snapshot`: see [`GetSnapshotPage`](crate::GetSnapshotPage).
    const SNAPSHOT: &'static str;
    /// The version of the shape, see [`Message::VERSION`].
    const VERSION: u32 = 1;

    /// Identifies the entity. It is also the partition key of its events.
    fn entity_id(&self) -> Uuid;

    /// Rises with every change of the entity, so that a replica never takes an older picture for
    /// a newer one.
    fn entity_version(&self) -> i64;
}

macro_rules! entity_event {
    ($(#[$doc:meta])* $name:ident, $const:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[serde(bound = "T: Serialize + DeserializeOwned")]
        pub struct $name<T> {
            /// The entity after the change; for a deletion, as it last was.
            pub entity: T,
        }

        impl<T: EntityEto> Message for $name<T> {
            type Kind = Event;
            const NAME: &'static str = T::$const;
            const VERSION: u32 = T::VERSION;

            fn partition_key(&self) -> Option<String> {
                Some(self.entity.entity_id().to_string())
            }
        }
    };
}

entity_event!(
    /// An entity was created.
    EntityCreatedEto,
    CREATED
);
entity_event!(
    /// An entity was changed.
    EntityUpdatedEto,
    UPDATED
);
entity_event!(
    /// An entity was deleted.
    EntityDeletedEto,
    DELETED
);
