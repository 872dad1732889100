//! The events about users, as other services receive them.

use std::sync::Arc;

use event_bus::{
    EntityCreatedEto, EntityDeletedEto, EntityUpdatedEto, EventBus, Handler, HandlerError, Message,
    RabbitMq, Received, UnitOfWork,
};
use event_contracts::identity::UserEto;
use reqwest::StatusCode;
use serde_json::json;
use test_servers::{TestDatabase, eventually};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::support::{SOON, TestIdentity, details, fresh_name};

/// A service that subscribes to the events about users.
struct Listener {
    events: UnboundedReceiver<(&'static str, UserEto)>,
    /// The listener's own tables, dropped with it.
    _database: TestDatabase,
    _stop: tokio_util::sync::DropGuard,
}

struct Forward(Arc<UnboundedSender<(&'static str, UserEto)>>);

macro_rules! forward {
    ($event:ident) => {
        impl Handler<$event<UserEto>> for Forward {
            async fn handle(
                &self,
                event: Received<$event<UserEto>>,
                _work: &mut UnitOfWork,
            ) -> Result<(), HandlerError> {
                let name = <$event<UserEto> as Message>::NAME;
                self.0
                    .send((name, event.into_inner().entity))
                    .map_err(HandlerError::retry)
            }
        }
    };
}
forward!(EntityCreatedEto);
forward!(EntityUpdatedEto);
forward!(EntityDeletedEto);

impl Listener {
    /// Starts the listener, and waits until its queue is bound so that it misses no event.
    async fn start(service: &TestIdentity) -> Self {
        let database = TestDatabase::create(&["listener"]).await;
        let pool = database.pool("listener").await;
        event_bus::migrate(&pool).await.unwrap();
        let (sender, events) = unbounded_channel();
        let sender = Arc::new(sender);
        let stop = CancellationToken::new();
        let broker = RabbitMq::new(&service.broker.url()).unwrap();
        EventBus::builder("listener", pool, broker)
            .handle::<EntityCreatedEto<UserEto>, _>(Forward(sender.clone()))
            .handle::<EntityUpdatedEto<UserEto>, _>(Forward(sender.clone()))
            .handle::<EntityDeletedEto<UserEto>, _>(Forward(sender))
            .start(stop.clone())
            .await
            .unwrap();
        let last = EntityDeletedEto::<UserEto>::NAME;
        eventually("the listener's queue is bound", SOON, async || {
            let bindings = service.broker.bindings("listener").await;
            bindings
                .iter()
                .any(|binding| binding.routing_key == last)
                .then_some(())
        })
        .await;
        Self {
            events,
            _database: database,
            _stop: stop.drop_guard(),
        }
    }

    async fn next(&mut self) -> (&'static str, UserEto) {
        let next = tokio::time::timeout(SOON, self.events.recv()).await;
        next.expect("an event within the bound")
            .expect("the listener is running")
    }
}

#[tokio::test]
async fn creating_changing_and_deleting_a_user_reaches_a_subscriber_in_order() {
    let service = TestIdentity::start().await;
    let mut listener = Listener::start(&service).await;
    let admin = service.access_token("admin").await;

    let user = service.create_user(&admin, &fresh_name()).await;
    let (name, created) = listener.next().await;
    assert_eq!(name, "identity.user.created");
    assert_eq!(json!(created.id), user["id"]);
    assert_eq!(created.roles, ["customer"]);
    assert_eq!(created.version, 1);

    let mut changed = details(user["userName"].as_str().unwrap());
    changed["surname"] = json!("Murray Hopper");
    let response = service.replace(&admin, &user, &changed).await;
    assert_eq!(response.status(), StatusCode::OK);
    let (name, updated) = listener.next().await;
    assert_eq!(name, "identity.user.updated");
    assert_eq!(updated.surname.as_deref(), Some("Murray Hopper"));
    assert_eq!(updated.version, 2);

    assert_eq!(
        service.delete(&admin, &user).await.status(),
        StatusCode::NO_CONTENT
    );
    let (name, deleted) = listener.next().await;
    assert_eq!(name, "identity.user.deleted");
    assert_eq!((deleted.id, deleted.version), (created.id, 3));
}

#[tokio::test]
async fn a_registration_is_published_and_an_identical_or_failed_change_is_not() {
    let service = TestIdentity::start().await;
    let mut listener = Listener::start(&service).await;
    let admin = service.access_token("admin").await;
    let user = service.create_user(&admin, &fresh_name()).await;
    assert_eq!(listener.next().await.0, "identity.user.created");

    let same = details(user["userName"].as_str().unwrap());
    let response = service.replace(&admin, &user, &same).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut taken = details("alice");
    taken["password"] = json!("long enough");
    let response = service.post("/api/identity/register", &taken).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);

    let name = fresh_name();
    taken["userName"] = json!(name);
    let response = service.post("/api/identity/register", &taken).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let (event, registered) = listener.next().await;
    assert_eq!(
        (event, registered.user_name),
        ("identity.user.created", name)
    );
}
