//! Runs the service in the test's process, and sends requests to it.

use std::time::Duration;

use identity::{Identity, Settings};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use service_host::{HostConfig, RunningService, Service};
use test_servers::{TestBroker, TestDatabase, eventually};
use uuid::Uuid;

/// Upper bound for every wait, generous enough for a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Password of the demo users.
pub(crate) const DEMO_PASSWORD: &str = "waybill-demo";

/// Password of the users that [`TestIdentity::create_user`] creates.
pub(crate) const PASSWORD: &str = "correct horse";

/// Identity with its demo users, on servers of its own.
pub(crate) struct TestIdentity {
    pub(crate) running: RunningService,
    pub(crate) client: Client,
    pub(crate) database: TestDatabase,
    pub(crate) broker: TestBroker,
}

impl TestIdentity {
    /// Starts the service and waits until it is ready.
    pub(crate) async fn start() -> Self {
        let database = TestDatabase::create(&["identity"]).await;
        let pool = database.pool("identity").await;
        event_bus::migrate(&pool).await.expect("the bus's tables");
        Identity::migrator()
            .run(&pool)
            .await
            .expect("the service's tables");
        let broker = TestBroker::create().await;
        let running = start_on(&database, &broker).await;
        Self {
            running,
            client: Client::new(),
            database,
            broker,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.running.http_addr);
        self.client.request(method, url)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path)
            .send()
            .await
            .expect("a response")
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        let request = self.request(Method::POST, path).json(body);
        request.send().await.expect("a response")
    }

    /// Requests tokens with a password.
    pub(crate) async fn try_sign_in(&self, user_name: &str, password: &str) -> Response {
        let body = json!({"grant_type": "password", "username": user_name, "password": password});
        self.post("/api/identity/token", &body).await
    }

    /// Signs in a demo user and returns the tokens.
    pub(crate) async fn sign_in(&self, user_name: &str) -> Value {
        let response = self.try_sign_in(user_name, DEMO_PASSWORD).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    /// Signs in a demo user and returns the access token.
    pub(crate) async fn access_token(&self, user_name: &str) -> String {
        let tokens = self.sign_in(user_name).await;
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    /// Exchanges a refresh token.
    pub(crate) async fn refresh(&self, tokens: &Value) -> Response {
        let token = &tokens["refresh_token"];
        let body = json!({"grant_type": "refresh_token", "refresh_token": token});
        self.post("/api/identity/token", &body).await
    }

    /// Creates a customer with [`PASSWORD`] as an administrator.
    pub(crate) async fn create_user(&self, admin: &str, user_name: &str) -> Value {
        let response = self
            .request(Method::POST, "/api/identity/user")
            .bearer_auth(admin)
            .json(&with_password(details(user_name)))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        response.json().await.unwrap()
    }

    /// Changes a user as an administrator, with the version of `user` in `If-Match`.
    pub(crate) async fn replace(&self, admin: &str, user: &Value, details: &Value) -> Response {
        self.request(Method::PUT, &path(user))
            .bearer_auth(admin)
            .header("if-match", format!("\"{}\"", user["version"]))
            .json(details)
            .send()
            .await
            .unwrap()
    }

    /// Deletes a user as an administrator.
    pub(crate) async fn delete(&self, admin: &str, user: &Value) -> Response {
        let request = self.request(Method::DELETE, &path(user));
        request.bearer_auth(admin).send().await.unwrap()
    }
}

/// Starts an instance on the given servers and waits until it is ready.
pub(crate) async fn start_on(database: &TestDatabase, broker: &TestBroker) -> RunningService {
    let unused = "http://127.0.0.1:9/jwks.json";
    let config = HostConfig::local(database.url("identity"), broker.url(), unused);
    let settings = Settings {
        seed_demo_data: true,
        ..Settings::default()
    };
    let running = service_host::start::<Identity>(config, settings)
        .await
        .expect("the service starts");
    let ready = format!("http://{}/health/ready", running.http_addr);
    let client = Client::new();
    eventually("identity is ready", SOON, async || {
        let response = client.get(&ready).send().await.ok()?;
        (response.status() == StatusCode::OK).then_some(())
    })
    .await;
    running
}

/// The path of a user.
pub(crate) fn path(user: &Value) -> String {
    format!("/api/identity/user/{}", user["id"].as_str().expect("an id"))
}

/// The request body that an administrator sends for a user.
pub(crate) fn details(user_name: &str) -> Value {
    json!({
        "userName": user_name,
        "name": "Grace",
        "surname": "Hopper",
        "email": format!("{user_name}@example.org"),
        "phoneNumber": "+1 555 0100",
    })
}

pub(crate) fn with_password(mut details: Value) -> Value {
    details["password"] = json!(PASSWORD);
    details
}

/// A user name that is not taken.
pub(crate) fn fresh_name() -> String {
    format!("user-{}", Uuid::now_v7().simple())
}

/// Checks that the response is a problem of this type, and returns its body.
pub(crate) async fn problem(response: Response, status: StatusCode, slug: &str) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let body: Value = response.json().await.expect("a JSON body");
    assert_eq!(
        body["type"],
        format!("https://waybill.dev/problems/{slug}"),
        "{body}"
    );
    body
}
