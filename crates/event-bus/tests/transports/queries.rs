//! Queries: what a transport has to do for asking and answering.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use event_bus::transport::{Desk, NoReply, Question, Questions, Reply, ReplyOutcome, Transport};
use event_bus::{Envelope, Kind, TraceContext};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

use crate::conformance;
use crate::ground::{BOUND, Ground, QUIET, envelope, number};

const PRICE: &str = "catalog.price.get";

fn query(number: u32) -> Envelope {
    Envelope {
        kind: Kind::Query,
        mandatory: true,
        ..envelope(PRICE, number)
    }
}

fn answered(body: impl Into<String>) -> Reply {
    Reply {
        outcome: ReplyOutcome::Answered,
        body: Bytes::from(body.into()),
    }
}

async fn serve(transport: &Arc<dyn Transport>, at_once: u16) -> Questions {
    let desk = Desk {
        service: "catalog".to_owned(),
        query: PRICE.to_owned(),
        at_once,
    };
    transport.serve(desk).await
}

async fn next(questions: &mut Questions) -> Question {
    timeout(BOUND, questions.questions.recv())
        .await
        .expect("a query comes")
        .expect("the transport is open")
}

fn asked(question: &Question) -> u32 {
    number(question.content.as_ref().expect("it can be read"))
}

/// Takes part in answering, and waits until that has come about, which an answer shows.
async fn open(transport: &Arc<dyn Transport>, at_once: u16) -> Questions {
    let mut questions = serve(transport, at_once).await;
    let answering = async {
        loop {
            next(&mut questions).await.reply(answered("open")).await;
        }
    };
    let asking = test_servers::eventually("somebody answers", BOUND, async || {
        let reply = transport.request(query(0), BOUND).await;
        (reply != Err(NoReply::NobodyAnswers)).then_some(reply)
    });
    tokio::select! {
        () = answering => {}
        reply = asking => assert_eq!(reply, Ok(answered("open"))),
    }
    questions
}

async fn a_query_gets_the_reply_that_is_given(ground: Ground) {
    let (asker, responder) = (ground.participant(), ground.participant());
    let mut questions = open(&responder, 8).await;
    let sent = Envelope {
        version: 3,
        trace: TraceContext {
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            tracestate: None,
        },
        ..query(7)
    };
    for outcome in [
        ReplyOutcome::Answered,
        ReplyOutcome::Refused,
        ReplyOutcome::Failed,
    ] {
        let reply = Reply {
            outcome,
            body: Bytes::from("{\"ünïcode\":[1]}"),
        };
        let replying = async {
            let question = next(&mut questions).await;
            assert!(question.time_left <= BOUND);
            let received = question.content.clone().expect("it can be read");
            assert_eq!(
                serde_json::to_value(&*received).ok(),
                serde_json::to_value(Envelope {
                    mandatory: received.mandatory,
                    ..sent.clone()
                })
                .ok()
            );
            assert_eq!(received.body, sent.body);
            question.reply(reply.clone()).await;
        };
        let (received, ()) = tokio::join!(asker.request(sent.clone(), BOUND), replying);
        assert_eq!(received, Ok(reply));
    }
}

async fn that_nobody_answers_is_told_at_once(ground: Ground) {
    let asker = ground.participant();
    for _ in 0..2 {
        let started = Instant::now();
        let reply = asker.request(query(1), BOUND).await;
        assert_eq!(reply, Err(NoReply::NobodyAnswers));
        assert!(started.elapsed() < BOUND / 4);
    }
}

async fn a_reply_that_comes_too_late_harms_nobody(ground: Ground) {
    let (asker, responder) = (ground.participant(), ground.participant());
    let mut questions = open(&responder, 8).await;
    let late = asker.request(query(1), QUIET).await;
    assert_eq!(late, Err(NoReply::TimedOut));
    let question = next(&mut questions).await;
    assert!(question.time_left <= QUIET);
    question.reply(answered("late")).await;

    let replying = async { next(&mut questions).await.reply(answered("in time")).await };
    let (reply, ()) = tokio::join!(asker.request(query(2), BOUND), replying);
    assert_eq!(reply, Ok(answered("in time")));
}

async fn each_of_many_queries_in_flight_gets_its_own_reply(ground: Ground) {
    const MANY: u32 = 500;
    let (asker, responder) = (ground.participant(), ground.participant());
    let mut questions = open(&responder, 500).await;
    let replying = async {
        let mut in_hand = Vec::new();
        for _ in 0..MANY {
            in_hand.push(next(&mut questions).await);
        }
        // All of them are in flight now. The last one gets its answer first.
        for question in in_hand.into_iter().rev() {
            let number = asked(&question);
            question.reply(answered(number.to_string())).await;
        }
    };
    let mut asking: FuturesUnordered<_> = (0..MANY)
        .map(async |number| (number, asker.request(query(number), BOUND).await))
        .collect();
    let asking = async {
        while let Some((number, reply)) = asking.next().await {
            assert_eq!(reply, Ok(answered(number.to_string())));
        }
    };
    tokio::join!(asking, replying);
}

async fn that_nobody_answers_is_told_for_the_queries_it_is_true_of(ground: Ground) {
    let (asker, responder) = (ground.participant(), ground.participant());
    let mut questions = open(&responder, 500).await;
    let replying = async {
        for _ in 0..250 {
            next(&mut questions).await.reply(answered("")).await;
        }
    };
    let alternately = |n: u32| Envelope {
        name: if n.is_multiple_of(2) {
            PRICE.to_owned()
        } else {
            "no.body".to_owned()
        },
        ..query(n)
    };
    let asking = (0..500).map(|n| asker.request(alternately(n), BOUND));
    let started = Instant::now();
    let (replies, ()) = tokio::join!(futures::future::join_all(asking), replying);
    let expected = [Ok(answered("")), Err(NoReply::NobodyAnswers)];
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(*reply, expected[n % 2], "to query {n}");
    }
    assert!(started.elapsed() < BOUND / 2);
}

async fn the_instances_of_a_service_share_its_queries(ground: Ground) {
    let (asker, one, other) = (
        ground.participant(),
        ground.participant(),
        ground.participant(),
    );
    // The first may have one in hand, so the second query goes to the other.
    let mut first = open(&one, 1).await;
    let mut second = serve(&other, 1).await;
    let replying = async {
        let (in_first, in_second) = tokio::join!(next(&mut first), next(&mut second));
        in_first.reply(answered("by the first")).await;
        in_second.reply(answered("by the second")).await;
    };
    let (a, b, ()) = tokio::join!(
        asker.request(query(1), BOUND),
        asker.request(query(2), BOUND),
        replying
    );
    let mut bodies = [a, b].map(|reply| reply.expect("it is answered").body);
    bodies.sort();
    assert_eq!(bodies, ["by the first", "by the second"]);
}

async fn no_more_are_in_hand_than_are_answered_at_once(ground: Ground) {
    let (asker, responder) = (ground.participant(), ground.participant());
    let mut questions = open(&responder, 2).await;
    let replying = async {
        let (first, second) = (next(&mut questions).await, next(&mut questions).await);
        let third = timeout(QUIET, questions.questions.recv()).await;
        assert!(third.is_err(), "a third came: {third:?}");
        first.reply(answered("")).await;
        second.reply(answered("")).await;
        next(&mut questions).await.reply(answered("")).await;
    };
    let asking = futures::future::join_all((1..=3).map(|n| asker.request(query(n), BOUND)));
    let (replies, ()) = tokio::join!(asking, replying);
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
}

/// The time of a query that has timed out here begins in the broker when it has it, which may be a
/// while later.
async fn expires_in_the_broker() {
    tokio::time::sleep(QUIET).await;
}

async fn what_was_not_answered_goes_to_another_instance(ground: Ground) {
    let (asker, leaving, staying) = (
        ground.participant(),
        ground.participant(),
        ground.participant(),
    );
    let mut questions = open(&leaving, 8).await;
    let given_up = asker.request(query(1), QUIET).await;
    assert_eq!(given_up, Err(NoReply::TimedOut));
    let replying = async {
        let unanswered = [next(&mut questions).await, next(&mut questions).await];
        expires_in_the_broker().await;
        drop((unanswered, questions));
        let mut questions = serve(&staying, 8).await;
        let question = next(&mut questions).await;
        assert_eq!(asked(&question), 2, "nobody waits for the first any more");
        question.reply(answered("after all")).await;
        questions
    };
    let (reply, _questions) = tokio::join!(asker.request(query(2), BOUND), replying);
    assert_eq!(reply, Ok(answered("after all")));
}

async fn a_query_waits_for_a_service_that_is_restarted(ground: Ground) {
    let (asker, responder) = (ground.participant(), ground.participant());
    drop(open(&responder, 8).await);
    let restarted = async {
        let timed_out = asker.request(query(1), QUIET).await;
        assert_eq!(timed_out, Err(NoReply::TimedOut));
        expires_in_the_broker().await;
        let mut questions = serve(&responder, 8).await;
        let question = next(&mut questions).await;
        assert_eq!(asked(&question), 2, "nobody waits for the first any more");
        question.reply(answered("back")).await;
        questions
    };
    let (reply, _questions) = tokio::join!(asker.request(query(2), BOUND), restarted);
    assert_eq!(reply, Ok(answered("back")));
}

async fn closing_tells_those_who_wait(ground: Ground) {
    let (asker, responder) = (ground.participant(), ground.participant());
    let mut questions = open(&responder, 8).await;
    let closing = async {
        let question = next(&mut questions).await;
        timeout(BOUND, asker.close()).await.expect("it closes");
        question
    };
    let started = Instant::now();
    let (reply, question) = tokio::join!(asker.request(query(1), BOUND), closing);
    assert_eq!(reply, Err(NoReply::Disconnected));
    assert!(started.elapsed() < BOUND / 2);
    question.reply(answered("to nobody")).await;
    let again = asker.request(query(2), BOUND).await;
    assert_eq!(again, Err(NoReply::Disconnected));

    timeout(BOUND, responder.close()).await.expect("it closes");
    let end = timeout(BOUND, questions.questions.recv()).await;
    assert!(end.expect("the queries end").is_none());
}

conformance! {
    a_query_gets_the_reply_that_is_given,
    that_nobody_answers_is_told_at_once,
    a_reply_that_comes_too_late_harms_nobody,
    each_of_many_queries_in_flight_gets_its_own_reply,
    that_nobody_answers_is_told_for_the_queries_it_is_true_of,
    the_instances_of_a_service_share_its_queries,
    no_more_are_in_hand_than_are_answered_at_once,
    what_was_not_answered_goes_to_another_instance,
    a_query_waits_for_a_service_that_is_restarted,
    closing_tells_those_who_wait,
}
