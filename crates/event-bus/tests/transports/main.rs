//! One conformance suite for all transports.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

mod ground;
mod partitions;
mod queries;

use event_bus::transport::{Binding, Group, Receipt, Settlement};
use event_bus::{Envelope, Kind, TraceContext};
use tokio::time::timeout;
use uuid::Uuid;

use ground::{BOUND, Ground, assert_quiet, envelope, group, join, number, publish, receive, take};

async fn every_group_gets_a_message_and_its_members_share_it(ground: Ground) {
    let (one, other) = (ground.participant(), ground.participant());
    let mut stock = join(&one, group("stock", &["a.b"])).await;
    let mut mail = join(&one, group("mail", &["a.b"])).await;
    let mut more_mail = other.subscribe(group("mail", &["a.b"])).await;
    publish(&one, (1..=20).map(|n| envelope("a.b", n)).collect()).await;

    assert_eq!(take(&mut stock, 20).await, (1..=20).collect::<Vec<_>>());
    let mut received = Vec::new();
    while received.len() < 20 {
        tokio::select! {
            delivery = receive(&mut mail) => received.push(delivery),
            delivery = receive(&mut more_mail) => received.push(delivery),
        }
    }
    let mut numbers: Vec<u32> = received.iter().map(|(e, _)| number(e)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    assert_quiet(&mut mail).await;
}

async fn one_publishers_messages_keep_their_order(ground: Ground) {
    let transport = ground.participant();
    let mut subscription = join(&transport, group("stock", &["a.b"])).await;
    let mut settling = Vec::new();
    for start in [1, 501, 1001] {
        let batch = (start..start + 500).map(|n| envelope("a.b", n)).collect();
        settling.push(transport.publish(batch).await);
    }
    for settlements in settling {
        assert!(
            settlements
                .await
                .iter()
                .all(|s| *s == Settlement::Confirmed)
        );
    }
    assert_eq!(
        take(&mut subscription, 1500).await,
        (1..=1500).collect::<Vec<_>>()
    );
}

async fn nobody_bound_is_told_for_a_mandatory_message_only(ground: Ground) {
    let transport = ground.participant();
    let mandatory = Envelope {
        mandatory: true,
        ..envelope("no.body", 1)
    };
    let settlements = publish(&transport, vec![envelope("no.body", 2), mandatory]).await;
    assert_eq!(settlements, [Settlement::Confirmed, Settlement::Unroutable]);
}

async fn returns_are_told_for_the_messages_they_are_of(ground: Ground) {
    let transport = ground.participant();
    let _subscription = join(&transport, group("stock", &["a.b"])).await;
    let alternately = |n: u32| Envelope {
        mandatory: true,
        ..envelope(
            if n.is_multiple_of(2) {
                "a.b"
            } else {
                "no.body"
            },
            n,
        )
    };
    let mut settling = Vec::new();
    for start in [0, 250, 500, 750] {
        let batch = (start..start + 250).map(alternately).collect();
        settling.push(transport.publish(batch).await);
    }
    let mut settlements = Vec::new();
    for batch in settling {
        settlements.extend(timeout(BOUND, batch).await.expect("it is settled"));
    }
    let expected = [Settlement::Confirmed, Settlement::Unroutable];
    for (n, settlement) in settlements.iter().enumerate() {
        assert_eq!(*settlement, expected[n % 2], "of message {n}");
    }
}

async fn patterns_bind_many_names(ground: Ground) {
    let transport = ground.participant();
    let mut subscription = join(&transport, group("audit", &["identity.#", "a.*.c"])).await;
    let names = [
        "identity.user.created",
        "a.x.c",
        "a.x.y.c",
        "catalog.product.created",
    ];
    let messages = names
        .iter()
        .zip(1..)
        .map(|(name, n)| envelope(name, n))
        .collect();
    publish(&transport, messages).await;
    assert_eq!(take(&mut subscription, 2).await, [1, 2]);
    assert_quiet(&mut subscription).await;
}

async fn a_command_reaches_the_group_bound_for_its_name(ground: Ground) {
    let transport = ground.participant();
    let binding = Binding {
        kind: Kind::Command,
        pattern: "stock.release".to_owned(),
    };
    let mut subscription = transport
        .subscribe(Group {
            bindings: vec![binding],
            ..group("stock", &[])
        })
        .await;
    let command = Envelope {
        kind: Kind::Command,
        mandatory: true,
        ..envelope("stock.release", 7)
    };
    test_servers::eventually("the group is bound", BOUND, async || {
        let settled = publish(&transport, vec![command.clone()]).await;
        (settled == [Settlement::Confirmed]).then_some(())
    })
    .await;
    let (received, _) = receive(&mut subscription).await;
    assert_eq!((received.kind, number(&received)), (Kind::Command, 7));
}

async fn what_was_not_acknowledged_comes_again_when_the_member_leaves(ground: Ground) {
    let (one, other) = (ground.participant(), ground.participant());
    let mut leaving = join(&one, group("stock", &["a.b"])).await;
    publish(&one, (1..=3).map(|n| envelope("a.b", n)).collect()).await;
    let mut unanswered = Vec::new();
    for _ in 1..=3 {
        unanswered.push(receive(&mut leaving).await);
    }
    Receipt::acknowledge(&[unanswered.remove(1).1]).await;
    drop((leaving, unanswered));

    let mut staying = other.subscribe(group("stock", &["a.b"])).await;
    let mut again = take(&mut staying, 2).await;
    again.sort_unstable();
    assert_eq!(again, [1, 3]);
    assert_quiet(&mut staying).await;
}

async fn a_member_that_leaves_while_it_joins_takes_nothing_along(ground: Ground) {
    let (one, other) = (ground.participant(), ground.participant());
    let mut staying = join(&one, group("stock", &["a.b"])).await;
    for longer in 0..25 {
        let leaving = other.subscribe(group("stock", &["a.b"])).await;
        for _ in 0..longer {
            publish(&one, vec![envelope("no.body", 0)]).await;
        }
        drop(leaving);
    }
    publish(&one, (1..=100).map(|n| envelope("a.b", n)).collect()).await;
    let mut numbers = take(&mut staying, 100).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
}

async fn a_queue_keeps_messages_while_nobody_is_there(ground: Ground) {
    let (one, other) = (ground.participant(), ground.participant());
    drop(join(&one, group("stock", &["a.b"])).await);
    publish(&one, vec![envelope("a.b", 5)]).await;
    let mut later = other.subscribe(group("stock", &["a.b"])).await;
    assert_eq!(take(&mut later, 1).await, [5]);
}

async fn no_more_than_the_prefetch_is_under_way(ground: Ground) {
    let transport = ground.participant();
    let small = Group {
        prefetch: 2,
        ..group("stock", &["a.b"])
    };
    let mut subscription = join(&transport, small).await;
    publish(&transport, (1..=4).map(|n| envelope("a.b", n)).collect()).await;
    let (first, receipt) = receive(&mut subscription).await;
    let (second, _unanswered) = receive(&mut subscription).await;
    assert_eq!([number(&first), number(&second)], [1, 2]);
    assert_quiet(&mut subscription).await;
    Receipt::acknowledge(&[receipt]).await;
    assert_eq!(take(&mut subscription, 1).await, [3]);
}

async fn every_attribute_of_an_envelope_arrives(ground: Ground) {
    let transport = ground.participant();
    let mut subscription = join(&transport, group("stock", &["a.b"])).await;
    let sent = Envelope {
        version: 3,
        partition_key: Some("order-1 with spaces, and ünïcode".to_owned()),
        causation_id: Some(Uuid::now_v7()),
        trace: TraceContext {
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            tracestate: Some("vendor=value".to_owned()),
        },
        ..envelope("a.b", 1)
    };
    publish(&transport, vec![sent.clone()]).await;
    let (received, _) = receive(&mut subscription).await;
    assert_eq!(
        serde_json::to_value(&*received).ok(),
        serde_json::to_value(&sent).ok()
    );
    assert_eq!(received.body, sent.body);
}

async fn closing_ends_the_deliveries(ground: Ground) {
    let transport = ground.participant();
    let mut subscription = join(&transport, group("stock", &["a.b"])).await;
    timeout(BOUND, transport.close()).await.expect("it closes");
    let end = timeout(BOUND, subscription.deliveries.recv()).await;
    assert!(end.expect("the deliveries end").is_none());
}

macro_rules! conformance {
    ($($name:ident,)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Ground::in_memory()).await;
            })*
        }

        mod rabbitmq {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Ground::rabbitmq().await).await;
            })*
        }
    };
}
pub(crate) use conformance;

conformance! {
    every_group_gets_a_message_and_its_members_share_it,
    one_publishers_messages_keep_their_order,
    nobody_bound_is_told_for_a_mandatory_message_only,
    returns_are_told_for_the_messages_they_are_of,
    patterns_bind_many_names,
    a_command_reaches_the_group_bound_for_its_name,
    what_was_not_acknowledged_comes_again_when_the_member_leaves,
    a_member_that_leaves_while_it_joins_takes_nothing_along,
    a_queue_keeps_messages_while_nobody_is_there,
    no_more_than_the_prefetch_is_under_way,
    every_attribute_of_an_envelope_arrives,
    closing_ends_the_deliveries,
}
