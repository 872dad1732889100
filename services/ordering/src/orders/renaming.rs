//! What a customer is called, on their orders.

use event_bus::UnitOfWork;

use super::history::{Cause, Record, What};
use super::{CustomerName, OrderState, storage};
use crate::ids::CustomerId;

/// Puts the customer's present name on their open orders. An order that is over keeps the name it
/// had.
pub(crate) async fn rename_open(
    work: &mut UnitOfWork,
    customer: CustomerId,
    name: &CustomerName,
    cause: &Cause,
) -> Result<(), sqlx::Error> {
    rename(work, customer, name, &OrderState::open(), cause).await
}

/// Removes the customer's name from all of their orders.
pub(crate) async fn remove_name(
    work: &mut UnitOfWork,
    customer: CustomerId,
    cause: &Cause,
) -> Result<(), sqlx::Error> {
    let name = CustomerName::of_deleted();
    rename(work, customer, &name, &OrderState::ALL, cause).await
}

async fn rename(
    work: &mut UnitOfWork,
    customer: CustomerId,
    name: &CustomerName,
    states: &[OrderState],
    cause: &Cause,
) -> Result<(), sqlx::Error> {
    let renamed = storage::rename(work, customer, name, states).await?;
    let records: Vec<_> = renamed
        .into_iter()
        .map(|(order_id, state)| Record {
            order_id,
            what: What::Renamed,
            from: Some(state),
            to: state,
            cause,
        })
        .collect();
    storage::insert_history(work, &records).await
}
