//! What comes back for a query, and what does not.

use std::sync::Arc;
use std::time::Instant;

use event_bus::{
    BusSettings, Message, Query, Received, Request, RequestError, RespondError, Responder,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{By, GetPrice, NoPrice, Price, PriceList, SHORT, ask, asker, start_answering};
use crate::support::{BOUND, Ground, on_both_transports, quick};

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

/// Answers with as much as it is asked for.
struct AsMuchAsYouLike;

impl Responder<Misread> for AsMuchAsYouLike {
    async fn respond(&self, query: Received<Misread>) -> Result<Vec<String>, RespondError<()>> {
        Ok(vec!["x".repeat(query.product as usize)])
    }
}

async fn an_answer_that_is_too_large_is_a_failure(ground: &Ground) {
    let shop = asker(ground).await;
    let stock = ground.participant("stock").await;
    let stock = stock.answer::<Misread, _>(AsMuchAsYouLike);
    let _stock = start_answering(&shop.bus, stock).await;
    let largest = u32::try_from(event_bus::MAX_BODY_BYTES).expect("1 MiB") - r#"[""]"#.len() as u32;
    let fits = shop.bus.request(&Misread { product: largest }, BOUND).await;
    assert_eq!(fits.expect("an answer")[0].len(), largest as usize);
    let product = largest + 1;
    match shop.bus.request(&Misread { product }, BOUND).await {
        Err(RequestError::Failed { detail, .. }) => assert_eq!(detail, "the answer is too large"),
        other => panic!("did not fail: {other:?}"),
    }
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
    an_answer_that_is_too_large_is_a_failure,
}
