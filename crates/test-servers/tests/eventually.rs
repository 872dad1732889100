//! Waiting with a bound.

use std::time::{Duration, Instant};

use test_servers::eventually;

#[tokio::test]
async fn it_asks_until_the_answer_is_there() {
    let mut asked = 0;
    let answer = eventually("the third answer", Duration::from_secs(10), async || {
        asked += 1;
        (asked == 3).then_some("here")
    })
    .await;
    assert_eq!(answer, "here");
    assert_eq!(asked, 3);
}

#[tokio::test]
#[should_panic(expected = "in vain until pigs fly")]
async fn it_gives_up_by_naming_what_it_waited_for() {
    eventually("pigs fly", Duration::from_millis(20), async || None::<()>).await;
}

#[tokio::test]
async fn a_check_that_hangs_is_given_up_too() {
    let started = Instant::now();
    let waiting = tokio::spawn(async {
        eventually("an answer", Duration::from_millis(20), async || {
            std::future::pending::<Option<()>>().await
        })
        .await;
    });
    assert!(waiting.await.expect_err("it gave up").is_panic());
    assert!(started.elapsed() < Duration::from_secs(10));
}
