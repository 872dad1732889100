//! Who may see and cancel which orders.

use service_host::{Caller, Problem};

use super::Order;
use crate::ids::CustomerId;

/// Sees all orders.
pub(crate) const READ: &str = "ordering.orders.read";
/// Cancels any order.
pub(crate) const MANAGE: &str = "ordering.orders.manage";

/// Whether it is the caller's own order. One that a guest has placed belongs to whoever has its
/// id, which nobody can guess.
fn is_own(order: &Order, caller: &Caller) -> bool {
    match order.customer_id {
        None => true,
        Some(CustomerId(owner)) => caller.user().is_some_and(|user| user.id == owner),
    }
}

/// The order, if the caller may see it.
///
/// # Errors
///
/// 404 if there is none or it is somebody else's: that it exists is already too much to say.
pub(crate) fn visible(order: Option<Order>, caller: &Caller) -> Result<Order, Problem> {
    order
        .filter(|order| is_own(order, caller) || caller.may(READ) || caller.may(MANAGE))
        .ok_or_else(no_such_order)
}

/// 404.
pub(crate) fn no_such_order() -> Problem {
    Problem::not_found("There is no such order.")
}

/// Lets the owner cancel, and whoever manages orders.
///
/// # Errors
///
/// 403 for somebody who may only look at it.
pub(crate) fn require_cancel(order: &Order, caller: &Caller) -> Result<(), Problem> {
    if is_own(order, caller) {
        return Ok(());
    }
    caller.require(MANAGE).map(|_| ())
}
