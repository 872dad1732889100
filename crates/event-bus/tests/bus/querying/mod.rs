//! Queries: a typed answer, a typed no, or soon the reason why there is neither.

mod answers;
mod faults;
mod instances;
mod signals;

use std::time::Duration;

use event_bus::{
    EventBus, EventBusBuilder, Message, Query, Received, Request, RequestError, RespondError,
    Responder,
};
use serde::{Deserialize, Serialize};

use crate::support::{BOUND, Ground, Running};

/// Long enough to be asked in, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GetPrice {
    pub(crate) product: u32,
}

impl Message for GetPrice {
    type Kind = Query;
    const NAME: &'static str = "stock.price.get";
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Price {
    pub(crate) cents: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NoPrice {
    Unknown { product: u32 },
}

impl Request for GetPrice {
    type Answer = Price;
    type Refusal = NoPrice;
}

pub(crate) type Respond = Result<Price, RespondError<NoPrice>>;

/// A responder made of a function.
struct By<F>(F);

impl<F, A> Responder<GetPrice> for By<F>
where
    F: Fn(Received<GetPrice>) -> A + Send + Sync + 'static,
    A: Future<Output = Respond> + Send,
{
    async fn respond(&self, query: Received<GetPrice>) -> Respond {
        (self.0)(query).await
    }
}

/// Knows the products below 1000, at ten cents for each of their number.
#[derive(Debug)]
pub(crate) struct PriceList;

impl Responder<GetPrice> for PriceList {
    async fn respond(&self, query: Received<GetPrice>) -> Respond {
        match query.product {
            product @ 0..1000 => Ok(Price {
                cents: product * 10,
            }),
            product => Err(RespondError::refuse(NoPrice::Unknown { product })),
        }
    }
}

/// Starts a service that answers, and waits until it does.
async fn start_answering(asker: &EventBus, responding: EventBusBuilder) -> Running {
    let running = Running::start(responding).await;
    test_servers::eventually("somebody answers", BOUND, async || {
        let answer = asker.request(&GetPrice { product: 1000 }, BOUND).await;
        (!matches!(answer, Err(RequestError::NobodyAnswers { .. }))).then_some(())
    })
    .await;
    running
}

async fn asker(ground: &Ground) -> Running {
    Running::start(ground.participant("shop").await).await
}

async fn ask(asker: &Running, product: u32) -> Result<Price, RequestError<NoPrice>> {
    asker.bus.request(&GetPrice { product }, BOUND).await
}
