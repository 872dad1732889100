//! What orders hear of catalog, and of the time.

use event_bus::{BatchHandler, Handler, HandlerError, Message, Received, UnitOfWork};
use event_contracts::catalog::{
    ProductPriceChangedEto, StockRejectedEto, StockRejection, StockReservedEto,
};
use uuid::Uuid;

use super::history::Cause;
use super::messages::ConfirmationDue;
use super::transitions::{Outcome, Step, advance, announce};
use super::{PriceDropThreshold, Reason, Trigger, discounting};
use crate::ids::{OrderId, ProductId};
use crate::money::Money;

/// Confirms the orders for which there is stock.
#[derive(Debug)]
pub(crate) struct ConfirmOrders;

/// Rejects the orders for which there is none.
#[derive(Debug)]
pub(crate) struct RejectOrders;

/// Cancels the orders that nothing was heard about in time.
#[derive(Debug)]
pub(crate) struct CancelOverdueOrders;

/// Gives a fallen price to open orders.
#[derive(Debug)]
pub(crate) struct DiscountOrders {
    pub(crate) threshold: PriceDropThreshold,
}

/// A message about an order that was never here. It goes to the dead letters: somebody has to
/// look why.
#[derive(Debug, thiserror::Error)]
#[error("there is no order {0}")]
struct NoSuchOrder(Uuid);

/// Applies one trigger to the orders that these messages are about, and announces the result of
/// each as an effect of its message.
async fn advance_each<M: Message>(
    work: &mut UnitOfWork,
    trigger: Trigger,
    messages: &[Received<M>],
    subject: impl Fn(&M) -> (OrderId, Option<Reason>),
) -> Result<(), HandlerError> {
    let steps: Vec<Step> = messages
        .iter()
        .map(|message| {
            let (order_id, reason) = subject(message);
            let cause = Cause::from(message);
            Step {
                order_id,
                reason,
                cause,
            }
        })
        .collect();
    let outcomes = advance(work, trigger, &steps).await?;
    for ((message, step), outcome) in messages.iter().zip(&steps).zip(outcomes) {
        match outcome {
            Outcome::Changed(order) => {
                work.caused_by(message);
                announce(work, &order)?;
            }
            Outcome::Ignored(_) => {}
            Outcome::Unknown => return Err(HandlerError::reject(NoSuchOrder(step.order_id.0))),
        }
    }
    Ok(())
}

impl BatchHandler<StockReservedEto> for ConfirmOrders {
    async fn handle(
        &self,
        reserved: Vec<Received<StockReservedEto>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        advance_each(work, Trigger::StockReserved, &reserved, |reserved| {
            (OrderId(reserved.order_id), None)
        })
        .await
    }
}

impl BatchHandler<StockRejectedEto> for RejectOrders {
    async fn handle(
        &self,
        rejected: Vec<Received<StockRejectedEto>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        advance_each(work, Trigger::StockRejected, &rejected, |rejected| {
            let reason = match rejected.reason {
                StockRejection::OutOfStock => Reason::OutOfStock,
                StockRejection::UnknownProduct => Reason::UnknownProduct,
            };
            (OrderId(rejected.order_id), Some(reason))
        })
        .await
    }
}

impl BatchHandler<ConfirmationDue> for CancelOverdueOrders {
    async fn handle(
        &self,
        due: Vec<Received<ConfirmationDue>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        advance_each(work, Trigger::ConfirmationOverdue, &due, |due| {
            (due.order_id, Some(Reason::ConfirmationTimeout))
        })
        .await
    }
}

impl Handler<ProductPriceChangedEto> for DiscountOrders {
    async fn handle(
        &self,
        changed: Received<ProductPriceChangedEto>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let old = Money::price(changed.old_price).map_err(HandlerError::reject)?;
        let new = Money::price(changed.new_price).map_err(HandlerError::reject)?;
        if self.threshold.is_reached(old, new) {
            let product = ProductId(changed.product_id);
            discounting::pass_on(work, product, new, &Cause::from(&changed)).await?;
        }
        Ok(())
    }
}
