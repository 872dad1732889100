//! What ordering tells itself.

use event_bus::{Command, Message};
use serde::{Deserialize, Serialize};

use crate::ids::OrderId;

/// By now catalog should have answered about the stock of this order. Scheduled with the placing,
/// and not part of the contracts: it never leaves ordering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmationDue {
    /// The order.
    pub order_id: OrderId,
}

impl Message for ConfirmationDue {
    type Kind = Command;
    const NAME: &'static str = "ordering.confirmation_due";

    fn partition_key(&self) -> Option<String> {
        Some(self.order_id.to_string())
    }
}
