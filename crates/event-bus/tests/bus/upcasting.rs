//! Messages of older versions, and of newer publishers.

use event_bus::{
    EntityEto, EntityUpdatedEto, Envelope, Event, Handler, HandlerError, Lineage, Message,
    Received, TraceContext, UnitOfWork, UpcastError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Effect, Ground, Running, on_both_transports};

/// Its weight was a text in pounds at first, then a number of them, and is one of grams now.
#[derive(Debug, Serialize, Deserialize)]
struct Weighed {
    grams: u32,
}

impl Message for Weighed {
    type Kind = Event;
    const NAME: &'static str = "shop.parcel.weighed";
    const VERSION: u32 = 3;

    fn upcast(version: u32, mut body: Value) -> Result<Value, UpcastError> {
        if version == Self::VERSION {
            return Err(UpcastError::new("the present version needs no up-casting"));
        }
        if version < 2 {
            let pounds: u32 = body["weight"].as_str().unwrap_or_default().parse()?;
            body = json!({ "pounds": pounds });
        }
        let pounds = body["pounds"].as_u64();
        let pounds = pounds.ok_or_else(|| UpcastError::new("there are no pounds"))?;
        Ok(json!({ "grams": pounds * 500 }))
    }
}

/// An entity whose weight was in pounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parcel {
    id: Uuid,
    grams: u32,
}

impl EntityEto for Parcel {
    const SNAPSHOT: &'static str = "shop.parcel.snapshot";
    const CREATED: &'static str = "shop.parcel.created";
    const UPDATED: &'static str = "shop.parcel.updated";
    const DELETED: &'static str = "shop.parcel.deleted";
    const VERSION: u32 = 2;

    fn entity_id(&self) -> Uuid {
        self.id
    }

    fn entity_version(&self) -> i64 {
        1
    }

    fn upcast(_version: u32, mut entity: Value) -> Result<Value, UpcastError> {
        let pounds = entity["pounds"].as_u64();
        let pounds = pounds.ok_or_else(|| UpcastError::new("there are no pounds"))?;
        entity["grams"] = json!(pounds * 500);
        Ok(entity)
    }
}

/// Writes the grams.
struct Scales(Effect);

impl Scales {
    fn new() -> Self {
        Self(Effect::named("scales"))
    }
}

impl Handler<Weighed> for Scales {
    async fn handle(
        &self,
        weighed: Received<Weighed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.0.apply(weighed.grams, work).await
    }
}

impl Handler<EntityUpdatedEto<Parcel>> for Scales {
    async fn handle(
        &self,
        updated: Received<EntityUpdatedEto<Parcel>>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        self.0.apply(updated.entity.grams, work).await
    }
}

/// What a publisher of another version sends.
fn sent<M: Message>(like: &M, version: u32, body: &Value) -> Envelope {
    let lineage = Lineage {
        correlation_id: Uuid::now_v7(),
        causation_id: None,
        trace: TraceContext::default(),
    };
    Envelope {
        version,
        body: body.to_string().into(),
        ..Envelope::encode("shop", lineage, like).expect("it is JSON")
    }
}

fn weighed(version: u32, body: &Value) -> Envelope {
    sent(&Weighed { grams: 0 }, version, body)
}

/// Scales that are bound: they have weighed nothing.
async fn running_scales(ground: &Ground) -> Running {
    let stock = ground.participant("stock").await;
    let stock = stock
        .handle::<Weighed, _>(Scales::new())
        .handle::<EntityUpdatedEto<Parcel>, _>(Scales::new());
    let stock = Running::start(stock).await;
    let first = weighed(3, &json!({ "grams": 0 }));
    // The same message each time, so that it has its effect once.
    test_servers::eventually("the scales work", crate::support::BOUND, async || {
        ground.inject(first.clone()).await;
        (ground.effects("stock").await.len() == 1).then_some(())
    })
    .await;
    stock
}

async fn an_older_version_is_brought_into_the_present_shape(ground: &Ground) {
    let _stock = running_scales(ground).await;
    let bodies = [
        (1, json!({ "weight": "2" })),
        (2, json!({ "pounds": 3 })),
        (3, json!({ "grams": 700 })),
    ];
    for (version, body) in bodies {
        ground.inject(weighed(version, &body)).await;
    }
    let expected = [0, 700, 1000, 1500].map(|grams| ("scales", grams));
    ground.expect_effects("stock", &expected).await;
}

async fn entity_events_are_brought_into_the_present_shape_by_their_entity(ground: &Ground) {
    let _stock = running_scales(ground).await;
    let id = Uuid::now_v7();
    let updated = EntityUpdatedEto {
        entity: Parcel { id, grams: 0 },
    };
    let body = json!({ "entity": { "id": id, "pounds": 4 } });
    ground.inject(sent(&updated, 1, &body)).await;
    let expected = [0, 2000].map(|grams| ("scales", grams));
    ground.expect_effects("stock", &expected).await;

    ground.inject(sent(&updated, 1, &json!({ "id": id }))).await;
    let told = "select count(*) from dead_letters where reason = 'malformed'
                and reasons[1] like '%: there is no entity in it'";
    ground.expect_count("stock", told, 1).await;
}

async fn what_cant_be_brought_into_the_present_shape_is_kept_and_says_why(ground: &Ground) {
    let _stock = running_scales(ground).await;
    ground.inject(weighed(2, &json!({ "ounces": 32 }))).await;
    ground.inject(weighed(2, &json!({ "pounds": 1 }))).await;
    let expected = [0, 500].map(|grams| ("scales", grams));
    ground.expect_effects("stock", &expected).await;
    let told = "select count(*) from dead_letters
                where reason = 'malformed' and handler = 'Scales' and attempts = 1
                and reasons = array['version 2 of `shop.parcel.weighed` can''t be brought to \
                version 3: there are no pounds'] and convert_from(body, 'UTF8') = '{\"ounces\":32}'";
    ground.expect_count("stock", told, 1).await;
}

async fn fields_of_a_newer_publisher_are_ignored(ground: &Ground) {
    let _stock = running_scales(ground).await;
    let newer = json!({ "grams": 10, "colour": "red", "label": { "lines": ["a", "b"] } });
    ground.inject(weighed(3, &newer)).await;
    let older = json!({ "pounds": 1, "colour": "red" });
    ground.inject(weighed(2, &older)).await;
    let expected = [0, 10, 500].map(|grams| ("scales", grams));
    ground.expect_effects("stock", &expected).await;
    ground
        .expect_count("stock", "select count(*) from dead_letters", 0)
        .await;
}

on_both_transports! {
    an_older_version_is_brought_into_the_present_shape,
    entity_events_are_brought_into_the_present_shape_by_their_entity,
    what_cant_be_brought_into_the_present_shape_is_kept_and_says_why,
    fields_of_a_newer_publisher_are_ignored,
}
