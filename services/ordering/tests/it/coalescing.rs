//! Orders that wait for the same commit.
//!
//! To make orders wait, a test holds the product's row in a transaction of its own: both writers
//! run into it, and what comes later stays in the queue.

use event_contracts::ordering::OrderPlacedEto;
use ordering::Settings;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, PgPool};
use test_servers::eventually;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{SOON, Shop, id_of, order_for, problem};

/// How many orders fit into the queue in these tests.
const ROOM: usize = 20;

fn small_queue(settings: &mut Settings) {
    settings.max_waiting_orders = ROOM;
}

/// A shop whose writers are both busy, each with one order, until the product is let go.
struct Jam {
    shop: Shop,
    lamp: Uuid,
    requests: JoinSet<Response>,
    holder: PgConnection,
}

impl Jam {
    async fn begin() -> Self {
        let shop = Shop::open_with(small_queue).await;
        let lamp = shop.sell("Lamp", "19.90").await;
        let mut holder = shop.pool.acquire().await.unwrap().detach();
        let hold = "begin; select * from products for update";
        sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
        let mut jam = Self {
            shop,
            lamp,
            requests: JoinSet::new(),
            holder,
        };
        for busy in 1..=2 {
            jam.hand_in(&order_for(lamp, 1));
            blocked_writers(&jam.shop.pool, busy).await;
        }
        jam
    }

    fn hand_in(&mut self, order: &Value) {
        let request = self
            .shop
            .request(reqwest::Method::POST, "/api/ordering/order", None);
        let request = request.json(order).send();
        self.requests.spawn(async move { request.await.unwrap() });
    }

    /// Hands in more orders than there is room for. When the rest has been refused, the queue is
    /// full for certain.
    async fn fill_the_queue(&mut self, orders: &[Value]) {
        let too_many = orders.len() - ROOM;
        for order in orders {
            self.hand_in(order);
        }
        for _ in 0..too_many {
            let refused = self.requests.join_next().await.unwrap().unwrap();
            problem(refused, StatusCode::SERVICE_UNAVAILABLE, "too-many-orders").await;
        }
    }

    /// Lets the product go, and gives back the shop and the answers that were waited for.
    async fn end(mut self) -> (Shop, Vec<Response>) {
        sqlx::raw_sql("rollback")
            .execute(&mut self.holder)
            .await
            .unwrap();
        self.holder.close().await.unwrap();
        (self.shop, self.requests.join_all().await)
    }
}

async fn blocked_writers(pool: &PgPool, count: i64) {
    eventually(
        &format!("{count} writers wait for the product"),
        SOON,
        async || {
            let blocked: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            (blocked == count).then_some(())
        },
    )
    .await;
}

/// In how many transactions the orders were written.
async fn transactions(shop: &Shop) -> i64 {
    sqlx::query_scalar("select count(distinct xmin::text) from orders")
        .fetch_one(&shop.pool)
        .await
        .unwrap()
}

/// 25 orders, of which 8 are bad. Which 5 of them find no room is left to chance, so at least 3 bad
/// ones are in the set.
fn with_bad_ones(good: &Value, bad: &Value) -> Vec<Value> {
    let orders = (0..25).map(|number| if number % 3 == 1 { bad } else { good });
    orders.cloned().collect()
}

#[tokio::test]
async fn orders_that_wait_anyway_share_a_commit_and_too_many_are_refused() {
    let mut jam = Jam::begin().await;
    let orders: Vec<Value> = (1..=25)
        .map(|quantity| order_for(jam.lamp, quantity))
        .collect();
    jam.fill_the_queue(&orders).await;

    let (shop, answers) = jam.end().await;
    assert_eq!(answers.len(), 2 + ROOM);
    for answer in answers {
        assert_eq!(answer.status(), StatusCode::CREATED);
        let order: Value = answer.json().await.unwrap();
        assert_eq!(shop.history(&order, None).await.len(), 1);
        shop.catalog.hears::<OrderPlacedEto>(id_of(&order)).await;
    }
    assert_eq!(transactions(&shop).await, 3);
}

#[tokio::test]
async fn orders_for_an_unknown_product_leave_the_others_in_the_set_alone() {
    let mut jam = Jam::begin().await;
    let unknown = order_for(Uuid::now_v7(), 1);
    jam.fill_the_queue(&with_bad_ones(&order_for(jam.lamp, 1), &unknown))
        .await;

    let (shop, answers) = jam.end().await;
    let (placed, refused) = sorted(answers);
    assert!((3..=8).contains(&refused.len()), "{}", refused.len());
    assert_eq!(placed.len() + refused.len(), 2 + ROOM);
    for answer in refused {
        problem(answer, StatusCode::UNPROCESSABLE_ENTITY, "unknown-product").await;
    }
    assert_eq!(transactions(&shop).await, 3);
}

#[tokio::test]
async fn orders_the_database_refuses_fail_alone() {
    let mut jam = Jam::begin().await;
    sqlx::raw_sql("alter table orders add constraint no_poison check (customer_name <> 'Poison')")
        .execute(&jam.shop.pool)
        .await
        .unwrap();
    let poison = json!({"customerName": "Poison", "productId": jam.lamp});
    jam.fill_the_queue(&with_bad_ones(&order_for(jam.lamp, 1), &poison))
        .await;

    let (shop, answers) = jam.end().await;
    let (placed, failed) = sorted(answers);
    assert!((3..=8).contains(&failed.len()), "{}", failed.len());
    for answer in failed {
        let problem = problem(answer, StatusCode::INTERNAL_SERVER_ERROR, "internal").await;
        assert!(!problem.to_string().contains("no_poison"), "{problem}");
    }
    // The set came apart, and each good order was written by itself.
    assert_eq!(
        transactions(&shop).await,
        i64::try_from(placed.len()).unwrap()
    );
}

/// The answers to orders that were placed, and the others.
fn sorted(answers: Vec<Response>) -> (Vec<Response>, Vec<Response>) {
    let is_placed = |answer: &Response| answer.status() == StatusCode::CREATED;
    answers.into_iter().partition(is_placed)
}
