//! What the owner of an entity can be asked for: all there are, page by page.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::entity::EntityEto;
use crate::message::{Message, Query};
use crate::request::Request;

/// Asks the owner for a page of its entities, in the order of their ids. It travels under
/// [`EntityEto::SNAPSHOT`] and is answered with a [`SnapshotPage`].
///
/// Replicas ask it by themselves, and the owner answers with
/// `EventBusBuilder::serve_snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", bound = "")]
pub struct GetSnapshotPage<T> {
    /// The entity behind which the page begins; none for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
    #[serde(skip)]
    of: PhantomData<fn() -> T>,
}

impl<T> GetSnapshotPage<T> {
    /// Asks for the page behind this entity, or for the first one.
    pub const fn after(after: Option<Uuid>) -> Self {
        Self {
            after,
            of: PhantomData,
        }
    }
}

impl<T: EntityEto> Message for GetSnapshotPage<T> {
    type Kind = Query;
    const NAME: &'static str = T::SNAPSHOT;
}

impl<T: EntityEto> Request for GetSnapshotPage<T> {
    type Answer = SnapshotPage<T>;
    type Refusal = ();
}

/// A page of entities as they are now.
///
/// How many of them is up to the owner: fewer if they are large, since an answer has its limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", bound = "T: Serialize + DeserializeOwned")]
pub struct SnapshotPage<T> {
    /// The version of the entities' shape, see [`EntityEto::VERSION`].
    pub version: u32,
    /// The entities, by ascending id.
    pub entities: Vec<T>,
    /// Where the next page begins; none if this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Uuid>,
}
