//! Queries: what can be asked of another service.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::{Message, Query};

/// A message that is answered while its sender waits.
///
/// It changes nothing at the service that answers: asking twice is asking once. What changes
/// something is a [`Command`](crate::Command).
///
/// ```
/// use event_bus::{Message, Query, Request};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct GetPrice {
///     product: String,
/// }
///
/// impl Message for GetPrice {
///     type Kind = Query;
///     const NAME: &'static str = "catalog.price.get";
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Price {
///     cents: u32,
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// enum NoPrice {
///     UnknownProduct,
/// }
///
/// impl Request for GetPrice {
///     type Answer = Price;
///     type Refusal = NoPrice;
/// }
/// ```
pub trait Request: Message<Kind = Query> {
    /// What comes back, as JSON of at most [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES).
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Why there may be no answer, in the contract's own words. `()` where one *no* is enough.
    type Refusal: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;
}
