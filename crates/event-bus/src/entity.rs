//! Automatic events: what everybody may know of an entity, sent whenever it changes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::decode::UpcastError;
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

    /// Brings an entity of an older version into the present shape, in whichever of its events it
    /// came. See [`Message::upcast`].
    ///
    /// # Errors
    ///
    /// If the entity is not what its version promises.
    fn upcast(version: u32, entity: Value) -> Result<Value, UpcastError> {
        let _ = version;
        Ok(entity)
    }

    /// The JSON Schema of the entity. See [`Message::schema`].
    #[cfg(feature = "schemars")]
    fn schema(generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
        let _ = generator;
        None
    }
}

macro_rules! entity_event {
    ($(#[doc = $doc:literal])* $name:ident, $const:ident) => {
        $(#[doc = $doc])*
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

            fn upcast(version: u32, body: Value) -> Result<Value, UpcastError> {
                upcast_entity::<T>(version, body)
            }

            #[cfg(feature = "schemars")]
            fn schema(generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
                let entity = T::schema(generator)?;
                Some(schemars::json_schema!({
                    "description": concat!($($doc),*).trim(),
                    "type": "object",
                    "properties": { "entity": entity },
                    "required": ["entity"],
                }))
            }
        }
    };
}

fn upcast_entity<T: EntityEto>(version: u32, mut body: Value) -> Result<Value, UpcastError> {
    let Some(entity) = body.get_mut("entity") else {
        return Err(UpcastError::new("there is no entity in it"));
    };
    *entity = T::upcast(version, entity.take())?;
    Ok(body)
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
