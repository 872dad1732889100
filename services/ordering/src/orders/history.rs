//! What happened to an order, and by what.

use event_bus::Received;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::OrderState;
use crate::ids::OrderId;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum What {
    /// It was placed.
    Placed,
    /// It was confirmed.
    Confirmed,
    /// It was rejected.
    Rejected,
    /// It was cancelled.
    Cancelled,
    /// It became cheaper.
    Discounted,
    /// Its customer's name was changed or removed.
    Renamed,
    /// A message came that does nothing to an order in this state.
    Ignored,
}

impl What {
    /// What it is called to come into this state.
    #[must_use]
    pub fn arrival_in(state: OrderState) -> Self {
        match state {
            OrderState::Placed => Self::Placed,
            OrderState::Confirmed => Self::Confirmed,
            OrderState::Rejected => Self::Rejected,
            OrderState::Cancelled => Self::Cancelled,
        }
    }
}

/// By what something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Message or person.
    pub origin: Origin,
    /// The trace it belongs to, 32 hexadecimal digits.
    pub trace_id: Option<String>,
}

/// Message or person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A message with its id and name.
    Message(Uuid, String),
    /// Somebody who was signed in.
    User(Uuid),
    /// Somebody who was not.
    Guest,
}

impl<M> From<&Received<M>> for Cause {
    fn from(message: &Received<M>) -> Self {
        Self {
            origin: Origin::Message(message.id(), message.name().to_owned()),
            trace_id: message.trace_id().map(str::to_owned),
        }
    }
}

impl From<event_bus::Origin<'_>> for Cause {
    fn from(origin: event_bus::Origin<'_>) -> Self {
        Self {
            origin: Origin::Message(origin.id(), origin.name().to_owned()),
            trace_id: origin.trace_id().map(str::to_owned),
        }
    }
}

/// One entry of an order's history, to be written.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) order_id: OrderId,
    pub(crate) what: What,
    pub(crate) from: Option<OrderState>,
    pub(crate) to: OrderState,
    pub(crate) cause: &'a Cause,
}

/// One entry of an order's history, as it was written.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
    /// The state before; `None` for the first entry.
    pub from_state: Option<OrderState>,
    /// The state after.
    pub to_state: OrderState,
    /// The message that did it.
    pub message_id: Option<Uuid>,
    /// Its name.
    pub message_name: Option<String>,
    /// The signed-in person who did it.
    pub user_id: Option<Uuid>,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
}
