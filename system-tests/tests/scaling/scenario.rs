//! A day in the shop: what is ordered, and what must be left of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::{Api, Name, ServiceProcess, System};
use test_servers::eventually;
use tokio::task::JoinSet;

const BOUND: Duration = Duration::from_secs(60);
const CLIENTS: usize = 8;

/// A product and what happens to it.
struct Shelf {
    name: &'static str,
    stock: i64,
    orders: usize,
    quantity: i64,
    /// The first so many of each ten orders are cancelled.
    cancelled_of_ten: usize,
}

const SHELVES: [Shelf; 3] = [
    Shelf {
        name: "Lantern",
        stock: 1_000,
        orders: 120,
        quantity: 3,
        cancelled_of_ten: 0,
    },
    // Of this one there are not enough.
    Shelf {
        name: "Anvil",
        stock: 50,
        orders: 90,
        quantity: 1,
        cancelled_of_ten: 0,
    },
    Shelf {
        name: "Kite",
        stock: 400,
        orders: 90,
        quantity: 2,
        cancelled_of_ten: 4,
    },
];

/// How it ended: for each product the stock, and how many of its orders are in which state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome(BTreeMap<&'static str, (i64, BTreeMap<String, usize>)>);

/// The one way in which it may end.
pub(crate) fn expected() -> Outcome {
    let states = |states: &[(&str, usize)]| {
        let states = states
            .iter()
            .map(|(state, count)| ((*state).to_owned(), *count));
        states.collect()
    };
    Outcome(BTreeMap::from([
        ("Lantern", (640, states(&[("confirmed", 120)]))),
        ("Anvil", (0, states(&[("confirmed", 50), ("rejected", 40)]))),
        (
            "Kite",
            (292, states(&[("confirmed", 54), ("cancelled", 36)])),
        ),
    ]))
}

/// Plays it with all instances there are: whatever is done next is done by the next one.
pub(crate) async fn play(system: &System) -> Outcome {
    let mut products = Vec::new();
    for shelf in &SHELVES {
        products.push(system.create_product(shelf.name, shelf.stock).await);
    }
    let ordering: Vec<Api> = system
        .replicas(Name::Ordering)
        .iter()
        .map(ServiceProcess::api)
        .collect();
    let mut clients: JoinSet<_> = (0..CLIENTS)
        .map(|client| shop(client, products.clone(), ordering.clone()))
        .collect();
    let mut orders = Vec::new();
    while let Some(placed) = clients.join_next().await {
        orders.extend(placed.expect("the client went through"));
    }
    for (order, ordering) in orders.iter().zip(ordering.iter().cycle()) {
        if order.unwanted {
            system.expect_state(&order.id, "confirmed", BOUND).await;
            cancel(ordering, &order.id).await;
        }
    }
    settle(system, &products).await;
    system.expect_no_dead_letters().await;

    let mut outcome = BTreeMap::new();
    for (shelf, product) in SHELVES.iter().zip(&products) {
        let stock = system.stock(product).await.expect("a stock");
        outcome.insert(shelf.name, (stock, BTreeMap::new()));
    }
    for (order, ordering) in orders.iter().zip(ordering.iter().cycle()) {
        let state = look_at(ordering, &order.id).await;
        let (_, states) = outcome.get_mut(SHELVES[order.shelf].name).expect("a shelf");
        *states.entry(state).or_default() += 1;
    }
    Outcome(outcome)
}

/// An order that was placed.
struct Placed {
    shelf: usize,
    id: String,
    /// It is still to be cancelled, once it is confirmed.
    unwanted: bool,
}

/// What one of the clients does.
async fn shop(client: usize, products: Vec<String>, ordering: Vec<Api>) -> Vec<Placed> {
    let mut placed = Vec::new();
    let mut instances = ordering.iter().cycle().skip(client);
    let mut next = || instances.next().expect("there is an instance");
    let most = SHELVES.iter().map(|shelf| shelf.orders).max();
    for number in (client..most.unwrap_or(0)).step_by(CLIENTS) {
        let shelves = SHELVES.iter().enumerate();
        for (index, shelf) in shelves.filter(|(_, shelf)| number < shelf.orders) {
            let order = json!({
                "customerName": "Scenario", "productId": products[index], "quantity": shelf.quantity,
            });
            let answer = next().post("/api/ordering/order", order).await;
            assert_eq!(answer.status, 201, "{answer:?}");
            let id = answer.body["id"].as_str().expect("an id").to_owned();
            let cancelled = number % 10 < shelf.cancelled_of_ten;
            // Half of these as soon as they are placed, whatever catalog is doing.
            let unwanted = cancelled && number % 2 == 0;
            if cancelled && !unwanted {
                cancel(next(), &id).await;
            }
            placed.push(Placed {
                shelf: index,
                id,
                unwanted,
            });
        }
    }
    placed
}

async fn cancel(ordering: &Api, id: &str) {
    let path = format!("/api/ordering/order/{id}/cancel");
    let answer = ordering.post(&path, json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Waits until every order is decided, every message gone out, and all stock accounted for.
async fn settle(system: &System, products: &[String]) {
    eventually("every order is decided", BOUND, async || {
        let open = "select count(*) from orders where state = 'placed'";
        (system.count(Name::Ordering, open).await == 0).then_some(())
    })
    .await;
    for name in Name::ALL {
        eventually("the outbox is empty", BOUND, async || {
            let waiting = "select count(*) from outbox";
            (system.count(name, waiting).await == 0).then_some(())
        })
        .await;
    }
    // What was released comes back a little later.
    let total: i64 = SHELVES.iter().map(|shelf| shelf.stock).sum();
    eventually("no stock is missing", BOUND, async || {
        let held = "select coalesce(sum(quantity), 0) from orders where state = 'confirmed'";
        let mut found = system.count(Name::Ordering, held).await;
        for product in products {
            found += system.stock(product).await?;
        }
        (found == total).then_some(())
    })
    .await;
}

/// Checks that an order's history leads to where it is, in the steps that there are. Returns its
/// state.
async fn look_at(ordering: &Api, id: &str) -> String {
    let path = format!("/api/ordering/order/{id}");
    let order = ordering.get(&path).await.body;
    let history = ordering.get(&format!("{path}/history")).await.body;
    let mut before = &Value::Null;
    let mut steps = Vec::new();
    for entry in history.as_array().expect("a history") {
        assert_eq!(&entry["from"], before, "{history}");
        before = &entry["to"];
        if entry["what"] != "ignored" {
            steps.push(before.as_str().expect("a state"));
        }
    }
    assert_eq!(before, &order["state"], "{history}");
    let ways: [&[&str]; 4] = [
        &["placed", "confirmed"],
        &["placed", "rejected"],
        &["placed", "confirmed", "cancelled"],
        &["placed", "cancelled"],
    ];
    assert!(ways.contains(&steps.as_slice()), "{history}");
    before.as_str().expect("a state").to_owned()
}
