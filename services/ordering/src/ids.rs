//! Typed ids, so that an order's can't be taken for a product's.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            Serialize, Deserialize, ToSchema, sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

typed_id!(
    /// Identifies an order. A UUIDv7: later orders have greater ids.
    OrderId
);
typed_id!(
    /// Identifies a product of catalog.
    ProductId
);
typed_id!(
    /// Identifies a user of identity, as the one who orders.
    CustomerId
);

impl OrderId {
    /// The id of an order that is being placed now.
    pub fn next() -> Self {
        Self(Uuid::now_v7())
    }
}
