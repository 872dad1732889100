//! Many queries, and many who answer them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use event_bus::{BusSettings, Received, RequestError};
use futures::future::join_all;
use test_servers::eventually;
use tokio::sync::{Barrier, Notify, Semaphore, watch};
use tokio::time::timeout;

use super::{By, GetPrice, Price, PriceList, SHORT, ask, asker, start_answering};
use crate::support::{BOUND, Ground, Running, on_both_transports, quick};

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
    let together = Arc::new(Barrier::new(2));
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
        let stopped = timeout(SHORT, stop.as_mut()).await;
        assert!(stopped.is_err(), "it stopped with a query in hand");
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

on_both_transports! {
    hundreds_in_flight_each_get_their_own_answer,
    replicas_share_the_queries_and_one_may_go,
    a_bus_that_stops_answers_what_it_has_in_hand,
    queries_wait_a_while_for_a_service_that_has_stopped,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_again_after_their_exchange_was_deleted() {
    let ground = Ground::rabbitmq().await;
    let shop = asker(&ground).await;
    let stock = ground.participant("stock").await.answer(PriceList);
    let _stock = start_answering(&shop.bus, stock).await;
    ground.broker().delete_exchange("queries").await;
    eventually("it is answered", BOUND, async || ask(&shop, 5).await.ok()).await;
}
