//! Queries: a typed answer, a typed no, or soon the reason why there is neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use event_bus::{
    BusSettings, EventBus, EventBusBuilder, Message, Query, Received, Request, RequestError,
    RespondError, Responder,
};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, watch};

use crate::support::{BOUND, Ground, Running, on_both_transports, quick};

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

type Respond = Result<Price, RespondError<NoPrice>>;

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
pub(crate) async fn start_answering(asker: &EventBus, responding: EventBusBuilder) -> Running {
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

async fn a_query_is_answered_or_refused_in_its_own_words(ground: &Ground) {
    let shop = asker(ground).await;
    let stock = ground.participant("stock").await.answer(PriceList);
    let _stock = start_answering(&shop.bus, stock).await;
    let answer = ask(&shop, 7).await;
    assert_eq!(answer.expect("there is an answer"), Price { cents: 70 });
    match ask(&shop, 1001).await {
        Err(RequestError::Refused(refusal)) => {
            assert_eq!(refusal, NoPrice::Unknown { product: 1001 });
        }
        other => panic!("not refused: {other:?}"),
    }
}

async fn that_nobody_answers_is_known_at_once(ground: &Ground) {
    let shop = asker(ground).await;
    let started = Instant::now();
    let answer = ask(&shop, 7).await;
    assert!(matches!(answer, Err(RequestError::NobodyAnswers { .. })));
    assert!(started.elapsed() < BOUND / 4);
}

/// Counts what is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

async fn a_slow_responder_is_not_waited_for_and_its_work_is_given_up(ground: &Ground) {
    let shop = asker(ground).await;
    let given_up = Arc::new(Notify::new());
    let notify = given_up.clone();
    let slow = By(move |query: Received<GetPrice>| {
        let dropped = Dropped(notify.clone());
        async move {
            if query.product == 1 {
                std::future::pending::<()>().await;
            }
            std::mem::forget(dropped);
            Ok(Price { cents: 1 })
        }
    });
    let one_at_a_time = BusSettings {
        answers_at_once: 1,
        ..quick()
    };
    let stock = ground.participant("stock").await.settings(one_at_a_time);
    let _stock = start_answering(&shop.bus, stock.answer(slow)).await;
    let answer = shop.bus.request(&GetPrice { product: 1 }, SHORT).await;
    assert!(matches!(answer, Err(RequestError::TimedOut { .. })));
    tokio::time::timeout(BOUND, given_up.notified())
        .await
        .expect("nobody waits for the work, so it ends");
    ask(&shop, 2).await.expect("there is room for the next");
}

async fn what_goes_wrong_inside_a_responder_stays_there(ground: &Ground) {
    let shop = asker(ground).await;
    let broken = By(async |query: Received<GetPrice>| match query.product {
        1 => panic!("secret"),
        2 => Err(std::io::Error::other("secret"))?,
        _ => Ok(Price { cents: 1 }),
    });
    let stock = ground.participant("stock").await.answer(broken);
    let _stock = start_answering(&shop.bus, stock).await;
    for product in [1, 2] {
        match ask(&shop, product).await {
            Err(RequestError::Failed { detail, .. }) => {
                assert_eq!(detail, "the responder failed");
            }
            other => panic!("did not fail: {other:?}"),
        }
    }
    ask(&shop, 3).await.expect("others are answered");
}

/// Makes a query that goes by the name of `GetPrice`, and differs.
macro_rules! another_contract {
    ($name:ident { $field:ident: $type:ty }, version $version:literal, answer $answer:ty) => {
        #[derive(Serialize, Deserialize)]
        struct $name {
            $field: $type,
        }

        impl Message for $name {
            type Kind = Query;
            const NAME: &'static str = GetPrice::NAME;
            const VERSION: u32 = $version;
        }

        impl Request for $name {
            type Answer = $answer;
            type Refusal = ();
        }
    };
}

another_contract!(Newer { product: u32 }, version 2, answer Price);
another_contract!(Renamed { sku: String }, version 1, answer Price);
another_contract!(Misread { product: u32 }, version 1, answer Vec<String>);

async fn contracts_that_differ_are_told_and_not_guessed(ground: &Ground) {
    let shop = asker(ground).await;
    let stock = ground.participant("stock").await.answer(PriceList);
    let _stock = start_answering(&shop.bus, stock).await;
    let detail = |error| match error {
        RequestError::Failed { detail, .. } => detail,
        other => panic!("did not fail: {other:?}"),
    };
    let newer = shop.bus.request(&Newer { product: 1 }, BOUND).await;
    assert_eq!(
        detail(newer.expect_err("it is newer")),
        "the query's version is newer than the one known here"
    );
    let sku = "1".to_owned();
    let renamed = shop.bus.request(&Renamed { sku }, BOUND).await;
    assert_eq!(
        detail(renamed.expect_err("its field is unknown")),
        "the query can't be read"
    );
    let misread = shop.bus.request(&Misread { product: 1 }, BOUND).await;
    assert!(matches!(
        misread,
        Err(RequestError::UnreadableAnswer { .. })
    ));
    let sku = "x".repeat(event_bus::MAX_BODY_BYTES);
    let too_large = shop.bus.request(&Renamed { sku }, BOUND).await;
    assert!(matches!(too_large, Err(RequestError::Encode(_))));
    ask(&shop, 1).await.expect("others are answered");
}

async fn hundreds_in_flight_each_get_their_own_answer(ground: &Ground) {
    const MANY: u32 = 500;
    let shop = asker(ground).await;
    // Nobody is answered before all have asked; then the last comes first.
    let arrived = Arc::new(AtomicU32::new(0));
    let (turn, turns) = watch::channel(u32::MAX);
    let turn = Arc::new(turn);
    let backwards = By(move |query: Received<GetPrice>| {
        let (arrived, turn, mut turns) = (arrived.clone(), turn.clone(), turns.clone());
        async move {
            if query.product >= MANY {
                return Ok(Price { cents: 0 });
            }
            if arrived.fetch_add(1, Ordering::SeqCst) + 1 == MANY {
                turn.send_replace(MANY - 1);
            }
            turns.wait_for(|turn| *turn == query.product).await?;
            turn.send_replace(query.product.wrapping_sub(1));
            Ok(Price {
                cents: query.product,
            })
        }
    });
    let at_once = BusSettings {
        answers_at_once: 500,
        ..quick()
    };
    let stock = ground.participant("stock").await.settings(at_once);
    let _stock = start_answering(&shop.bus, stock.answer(backwards)).await;
    let answers = join_all((0..MANY).map(|product| ask(&shop, product))).await;
    for (product, answer) in (0..).zip(answers) {
        assert_eq!(answer.expect("an answer"), Price { cents: product });
    }
}

async fn replicas_share_the_queries_and_one_may_go(ground: &Ground) {
    let shop = asker(ground).await;
    let together = Arc::new(tokio::sync::Barrier::new(2));
    let mut replicas = Vec::new();
    for cents in [1, 2] {
        let together = together.clone();
        let one_at_a_time = BusSettings {
            answers_at_once: 1,
            ..quick()
        };
        let stock = ground.participant("stock").await.settings(one_at_a_time);
        let stock = stock.answer(By(move |query: Received<GetPrice>| {
            let together = together.clone();
            async move {
                if query.product == 0 {
                    together.wait().await;
                }
                Ok(Price { cents })
            }
        }));
        replicas.push(start_answering(&shop.bus, stock).await);
    }
    let (a, b) = tokio::join!(ask(&shop, 0), ask(&shop, 0));
    let mut answers = [a, b].map(|answer| answer.expect("an answer").cents);
    answers.sort_unstable();
    assert_eq!(answers, [1, 2], "each waited for the other");

    replicas.remove(0).stop().await;
    let rest = join_all((1..=20).map(|product| ask(&shop, product))).await;
    for answer in rest {
        assert_eq!(answer.expect("an answer"), Price { cents: 2 });
    }
}

async fn a_bus_that_stops_answers_what_it_has_in_hand(ground: &Ground) {
    let shop = asker(ground).await;
    let (taken, gate) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (notify, wait) = (taken.clone(), gate.clone());
    let gated = By(move |query: Received<GetPrice>| {
        let (notify, wait) = (notify.clone(), wait.clone());
        async move {
            if query.product == 1 {
                notify.notify_one();
                wait.acquire().await?.forget();
            }
            Ok(Price { cents: 1 })
        }
    });
    let stock = ground.participant("stock").await.answer(gated);
    let stock = start_answering(&shop.bus, stock).await;
    let stopping = async {
        taken.notified().await;
        let stop = stock.stop();
        tokio::pin!(stop);
        assert!(futures::poll!(stop.as_mut()).is_pending());
        gate.add_permits(1);
        stop.await;
    };
    let (answer, ()) = tokio::join!(ask(&shop, 1), stopping);
    assert_eq!(answer.expect("an answer"), Price { cents: 1 });
}

async fn queries_wait_a_while_for_a_service_that_has_stopped(ground: &Ground) {
    let shop = asker(ground).await;
    let stock = ground.participant("stock").await.answer(PriceList);
    start_answering(&shop.bus, stock).await.stop().await;
    let answer = shop.bus.request(&GetPrice { product: 1 }, SHORT).await;
    assert!(matches!(answer, Err(RequestError::TimedOut { .. })));

    let stock = ground.participant("stock").await.answer(PriceList);
    let (answer, _stock) = tokio::join!(ask(&shop, 2), Running::start(stock));
    assert_eq!(answer.expect("it is back"), Price { cents: 20 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_responders_of_one_query_are_refused_at_the_start() {
    let ground = Ground::in_memory().await;
    let twice = ground.participant("stock").await;
    let twice = twice.answer(PriceList).answer(PriceList);
    let refused = twice
        .start(tokio_util::sync::CancellationToken::new())
        .await;
    assert_eq!(
        refused.expect_err("it is ambiguous").to_string(),
        "the query `stock.price.get` has a responder already, `PriceList` would be a second"
    );
}

on_both_transports! {
    a_query_is_answered_or_refused_in_its_own_words,
    that_nobody_answers_is_known_at_once,
    a_slow_responder_is_not_waited_for_and_its_work_is_given_up,
    what_goes_wrong_inside_a_responder_stays_there,
    contracts_that_differ_are_told_and_not_guessed,
    hundreds_in_flight_each_get_their_own_answer,
    replicas_share_the_queries_and_one_may_go,
    a_bus_that_stops_answers_what_it_has_in_hand,
    queries_wait_a_while_for_a_service_that_has_stopped,
}
