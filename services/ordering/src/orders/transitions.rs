//! Orders going from one state to the next: what the table of states says, applied to a set of
//! orders in one unit of work.

use std::collections::HashMap;

use event_bus::{PublishError, UnitOfWork};
use event_contracts::catalog::ReleaseStock;
use event_contracts::ordering::{OrderCancelledEto, OrderConfirmedEto, OrderRejectedEto};
use uuid::Uuid;

use super::history::{Cause, Record, What};
use super::storage::{self, Change};
use super::{Order, OrderState, Reason, Trigger};
use crate::ids::OrderId;

/// One order to which something happens.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) order_id: OrderId,
    /// Why, where the order is rejected or cancelled.
    pub(crate) reason: Option<Reason>,
    pub(crate) cause: Cause,
}

/// What became of a step.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The order has changed, and is now like this.
    Changed(Order),
    /// Nothing happens to an order in this state.
    Ignored(OrderState),
    /// There is no such order.
    Unknown,
}

/// Applies the trigger to each order, writes the histories, and gives back what became of each
/// step, in their order. What was ignored is in the history as well.
///
/// The caller has to [`announce`] what has changed.
pub(crate) async fn advance(
    work: &mut UnitOfWork,
    trigger: Trigger,
    steps: &[Step],
) -> Result<Vec<Outcome>, sqlx::Error> {
    let ids: Vec<Uuid> = steps.iter().map(|step| step.order_id.0).collect();
    let mut states = storage::lock_states(work, &ids).await?;

    let mut changes = Vec::with_capacity(steps.len());
    let mut records = Vec::with_capacity(steps.len());
    for step in steps {
        let Some(state) = states.get_mut(&step.order_id) else {
            continue;
        };
        let next = state.after(trigger);
        records.push(Record {
            order_id: step.order_id,
            what: next.map_or(What::Ignored, What::arrival_in),
            from: Some(*state),
            to: next.unwrap_or(*state),
            cause: &step.cause,
        });
        if let Some(to) = next {
            changes.push(Change {
                order_id: step.order_id,
                to,
                reason: step.reason,
            });
            // A second step for the same order meets the new state, in which nothing is done to it.
            *state = to;
        }
    }

    let changed = storage::change_states(work, &changes, &records).await?;
    let mut changed: HashMap<OrderId, Order> =
        changed.into_iter().map(|order| (order.id, order)).collect();

    let outcomes = steps.iter().map(|step| {
        match (changed.remove(&step.order_id), states.get(&step.order_id)) {
            (Some(order), _) => Outcome::Changed(order),
            (None, Some(state)) => Outcome::Ignored(*state),
            (None, None) => Outcome::Unknown,
        }
    });
    Ok(outcomes.collect())
}

/// Tells everybody what state an order has come into, and gives back the stock of one that was
/// called off.
///
/// That goes out whether or not stock was reserved so far: catalog takes it before, after and
/// without the reservation. So an answer of catalog that crosses it needs no second one.
pub(crate) fn announce(work: &mut UnitOfWork, order: &Order) -> Result<(), PublishError> {
    let order_id = order.id.0;
    let customer_id = order.customer_id.map(|id| id.0);
    let product_id = order.product_id.0;
    let quantity = order.quantity.get();
    let reason = || order.reason.map_or("", Reason::as_str).to_owned();
    match order.state {
        // Announced where it is placed.
        OrderState::Placed => Ok(()),
        OrderState::Confirmed => work.publish(&OrderConfirmedEto {
            order_id,
            customer_id,
            product_id,
            quantity,
            total: order.total().amount(),
        }),
        OrderState::Rejected => work.publish(&OrderRejectedEto {
            order_id,
            customer_id,
            product_id,
            quantity,
            reason: reason(),
        }),
        OrderState::Cancelled => {
            work.publish(&OrderCancelledEto {
                order_id,
                customer_id,
                product_id,
                quantity,
                reason: reason(),
            })?;
            work.send(&ReleaseStock { order_id })
        }
    }
}
