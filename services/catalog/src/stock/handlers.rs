//! What other services ask of the stock.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use event_bus::{BatchHandler, HandlerError, Received, UnitOfWork};
use event_contracts::catalog::{ReleaseStock, StockRejectedEto, StockRejection, StockReservedEto};
use event_contracts::ordering::OrderPlacedEto;

use super::allocation::Allocation;
use super::release::Release;
use super::reservation::{OrderId, ReservationState, StockRequest};
use super::storage;
use crate::products::ProductId;

/// Sets stock aside for orders that were placed, and answers each of them.
///
/// All orders that have arrived are decided about at once, in the order of their arrival, while
/// their products are locked. It does no harm if an order comes again under another message id:
/// its row in `reservations` says what was decided, no stock moves, and the same answer goes out
/// again, since whoever asks twice may have missed it. An order that was released before it came
/// gets nothing and no answer: who placed it has given it up, and nobody waits.
#[derive(Debug)]
pub(crate) struct ReserveStock;

impl BatchHandler<OrderPlacedEto> for ReserveStock {
    async fn handle(
        &self,
        orders: Vec<Received<OrderPlacedEto>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let requests = orders
            .iter()
            .map(|order| stock_request(order))
            .collect::<Result<Vec<_>, _>>()
            .map_err(HandlerError::reject)?;
        let products: Vec<_> = requests.iter().map(|r| r.product.0).collect();
        let order_ids: Vec<_> = requests.iter().map(|r| r.order.0).collect();

        // The products first: whoever decided about one of these orders has committed when the
        // lock is ours, so what was settled is seen.
        let free = storage::lock_stock(work, &products).await?;
        let settled = storage::settled(work, &order_ids).await?;
        let mut allocation = Allocation::new(free, settled);
        for (order, request) in orders.iter().zip(requests) {
            let state = allocation.decide(request);
            work.caused_by(order);
            answer(work, order, state)?;
        }

        let taken = allocation.taken();
        if !allocation.decisions().is_empty()
            && storage::settle(work, allocation.decisions(), taken).await? != taken.len()
        {
            return Err(HandlerError::retry(StockMoved));
        }
        Ok(())
    }
}

/// Gives back what orders hold that need it no more.
///
/// It may come before the order, after it and without it, and more than once: an order that was
/// never heard of is noted as released, so that it gets nothing should it come later; one that
/// holds nothing (any more) changes nothing.
///
/// The limit of a stock applies to what is put in, not to what comes back: pieces that exist must
/// not vanish from the books.
#[derive(Debug)]
pub(crate) struct GiveBackStock;

impl BatchHandler<ReleaseStock> for GiveBackStock {
    async fn handle(
        &self,
        commands: Vec<Received<ReleaseStock>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let orders: BTreeSet<_> = commands.iter().map(|c| OrderId(c.order_id)).collect();
        let order_ids: Vec<_> = orders.iter().map(|order| order.0).collect();

        let settled = storage::lock_settled(work, &order_ids).await?;
        let release = Release::of(&orders, &settled);
        if !release.released.is_empty() {
            storage::release(work, &release.released).await?;
            storage::give_back(work, &release.given_back).await?;
        }
        if !release.unheard_of.is_empty() {
            let noted = storage::refuse_beforehand(work, &release.unheard_of).await?;
            if noted != release.unheard_of.len() {
                return Err(HandlerError::retry(DecidedMeanwhile));
            }
        }
        Ok(())
    }
}

/// An order that asks for no pieces, which no service of this system places.
#[derive(Debug, thiserror::Error)]
#[error("the order asks for a quantity of 0")]
struct NothingOrdered;

/// The conditional update found less stock than was locked before, which the lock rules out as
/// long as all who write stock keep to it.
#[derive(Debug, thiserror::Error)]
#[error("the stock of a product changed while it was locked")]
struct StockMoved;

/// Another instance has decided about the order between our look and our note.
#[derive(Debug, thiserror::Error)]
#[error("stock was reserved for the order in this moment")]
struct DecidedMeanwhile;

fn stock_request(order: &OrderPlacedEto) -> Result<StockRequest, NothingOrdered> {
    Ok(StockRequest {
        order: OrderId(order.order_id),
        product: ProductId(order.product_id),
        quantity: NonZeroU32::new(order.quantity).ok_or(NothingOrdered)?,
    })
}

fn answer(
    work: &mut UnitOfWork,
    order: &OrderPlacedEto,
    state: ReservationState,
) -> Result<(), HandlerError> {
    let reason = match state {
        ReservationState::Released => return Ok(()),
        ReservationState::Reserved => {
            return Ok(work.publish(&StockReservedEto {
                order_id: order.order_id,
                product_id: order.product_id,
                quantity: order.quantity,
            })?);
        }
        ReservationState::OutOfStock => StockRejection::OutOfStock,
        ReservationState::UnknownProduct => StockRejection::UnknownProduct,
    };
    work.publish(&StockRejectedEto {
        order_id: order.order_id,
        product_id: order.product_id,
        quantity: order.quantity,
        reason,
    })?;
    Ok(())
}
