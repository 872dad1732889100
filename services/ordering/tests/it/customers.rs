//! What customers are called, on their orders.

use event_bus::{EntityCreatedEto, EntityDeletedEto, EntityUpdatedEto};
use event_contracts::identity::UserEto;
use serde_json::Value;
use test_servers::eventually;

use crate::support::{Person, SOON, Shop, order_for, path_of, whats};

pub(crate) fn user(person: Person, surname: &str, version: i64) -> UserEto {
    UserEto {
        id: person.id,
        user_name: person.name.to_lowercase(),
        name: Some(person.name.to_owned()),
        surname: Some(surname.to_owned()),
        email: "somebody@example.org".to_owned(),
        phone_number: None,
        is_active: true,
        roles: vec!["customer".to_owned()],
        version,
    }
}

impl Shop {
    async fn is_named(&self, order: &Value, name: &str, who: Person) -> Value {
        let what = format!("order {} is in the name of {name}", order["id"]);
        eventually(&what, SOON, async || {
            let order = self.read(&path_of(order), Some(who)).await;
            (order["customerName"] == name).then_some(order)
        })
        .await
    }
}

#[tokio::test]
async fn a_new_name_stands_on_open_orders_and_a_deleted_customers_on_none() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let alice = Person::new("Alice", &[]);
    let bob = Person::new("Bob", &[]);
    let open = shop.order(&order_for(lamp, 1), Some(alice)).await;
    let over = shop.order(&order_for(lamp, 1), Some(alice)).await;
    shop.post(&format!("{}/cancel", path_of(&over)), Some(alice))
        .await;
    let others = shop.order(&order_for(lamp, 1), Some(bob)).await;

    let entity = user(alice, "Liddell", 2);
    shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    let renamed = shop.is_named(&open, "Alice Liddell", alice).await;
    assert_eq!(renamed["version"], 2);
    assert_eq!(
        whats(&shop.history(&open, Some(alice)).await),
        ["placed", "renamed"]
    );
    assert_eq!(
        shop.read(&path_of(&over), Some(alice)).await["customerName"],
        "Alice"
    );

    let entity = user(alice, "Liddell", 2);
    shop.catalog.publish([EntityDeletedEto { entity }]).await;
    for order in [&open, &over] {
        shop.is_named(order, "deleted customer", alice).await;
    }
    assert_eq!(shop.read(&path_of(&others), Some(bob)).await, others);
    let kept: Option<String> = sqlx::query_scalar("select name from customers where id = $1")
        .bind(alice.id)
        .fetch_one(&shop.pool)
        .await
        .unwrap();
    assert_eq!(kept, None);
}

#[tokio::test]
async fn an_older_name_never_replaces_a_newer_one() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let alice = Person::new("Alice", &[]);
    let order = shop.order(&order_for(lamp, 1), Some(alice)).await;

    let entity = user(alice, "Third", 3);
    shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    shop.is_named(&order, "Alice Third", alice).await;
    let entity = user(alice, "Second", 2);
    shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    let entity = user(alice, "First", 1);
    shop.catalog.publish([EntityCreatedEto { entity }]).await;
    shop.has_handled("customers", 3).await;
    let order = shop.read(&path_of(&order), Some(alice)).await;
    assert_eq!(order["customerName"], "Alice Third");
}

#[tokio::test]
async fn the_name_of_a_deleted_customer_does_not_come_back() {
    let shop = Shop::open().await;
    let lamp = shop.sell("Lamp", "19.90").await;
    let alice = Person::new("Alice", &[]);
    let order = shop.order(&order_for(lamp, 1), Some(alice)).await;
    let entity = user(alice, "Liddell", 2);
    shop.catalog
        .publish([EntityDeletedEto {
            entity: entity.clone(),
        }])
        .await;
    shop.is_named(&order, "deleted customer", alice).await;

    shop.catalog.publish([EntityUpdatedEto { entity }]).await;
    shop.has_handled("customers", 2).await;
    let order = shop.read(&path_of(&order), Some(alice)).await;
    assert_eq!(order["customerName"], "deleted customer");
}
