//! Owners that answer with what is no page.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use event_bus::{GetSnapshotPage, Received, RespondError, Responder, SnapshotPage};
use uuid::Uuid;

use super::{Copies, Item, Warehouse};
use crate::support::{BOUND, Ground, Running, on_both_transports};

/// Answers with a page that is wrong, a few times, and then with a last one without entities.
#[derive(Clone)]
struct Wrong {
    page: fn(Option<Uuid>) -> SnapshotPage<Item>,
    asked: Arc<AtomicU32>,
}

impl Responder<GetSnapshotPage<Item>> for Wrong {
    async fn respond(
        &self,
        query: Received<GetSnapshotPage<Item>>,
    ) -> Result<SnapshotPage<Item>, RespondError<()>> {
        Ok(match self.asked.fetch_add(1, Ordering::SeqCst) {
            0..3 => (self.page)(query.after),
            _ => page(&[], None),
        })
    }
}

fn page(ids: &[u128], next: Option<u128>) -> SnapshotPage<Item> {
    let entities = ids.iter().map(|id| Item {
        id: Uuid::from_u128(*id),
        name: "item".to_owned(),
        version: 1,
    });
    SnapshotPage {
        version: 1,
        entities: entities.collect(),
        next: next.map(Uuid::from_u128),
    }
}

async fn what_is_no_page_is_asked_for_again_and_nothing_of_it_is_kept(ground: &Ground) {
    let warehouse = Warehouse::on(ground).await;
    let wrong: [fn(Option<Uuid>) -> SnapshotPage<Item>; 4] = [
        |_| page(&[2, 1], None),
        |_| page(&[1, 2], Some(1)),
        |_| SnapshotPage {
            version: 2,
            ..page(&[1], None)
        },
        |_| page(&[1, 1], None),
    ];
    for wrong in wrong {
        let wrong = Wrong {
            page: wrong,
            asked: Arc::default(),
        };
        let stock = ground.participant("stock").await.answer(wrong.clone());
        let stock = Running::start(stock).await;
        let shop = warehouse.keep(&Copies::new()).await;
        warehouse.is_filled(&shop).await;
        test_servers::eventually("it was asked again", BOUND, async || {
            (wrong.asked.load(Ordering::SeqCst) > 3).then_some(())
        })
        .await;
        let kept = warehouse.count("select count(*) from history").await;
        assert_eq!(kept, 0);
        shop.bus.refill::<Copies>().await.expect("it is wanted");
        shop.stop().await;
        stock.stop().await;
    }
}

on_both_transports! {
    what_is_no_page_is_asked_for_again_and_nothing_of_it_is_kept,
}
