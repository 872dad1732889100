//! Requests that are dropped, and a schema that changes under the service.

use identity::Identity;
use reqwest::Method;
use serde_json::{Value, json};
use service_host::{Service as _, TestCall, uncalled};
use test_servers::{TableChange, cut_everywhere, eventually};

use crate::support::{PASSWORD, SOON, TestIdentity, details, fresh_name, with_password};

const USER: &str = "/api/identity/user/{id}";

/// A request to each route, for a user who can sign in. The user is gone after the last one.
fn calls(admin: &str, user: &Value) -> Vec<TestCall> {
    let id = user["id"].as_str().unwrap();
    let name = user["userName"].as_str().unwrap();
    let of_user = |method| TestCall::new(method, USER).id(&id).token(admin);
    let calls = vec![
        TestCall::new(Method::GET, "/.well-known/jwks.json"),
        TestCall::new(Method::POST, "/api/identity/token").body(json!({
            "grant_type": "password", "username": name, "password": PASSWORD,
        })),
        TestCall::new(Method::POST, "/api/identity/logout")
            .body(json!({ "refresh_token": "unknown" })),
        TestCall::new(Method::GET, "/api/identity/me").token(admin),
        TestCall::new(Method::POST, "/api/identity/register")
            .body(with_password(details(&fresh_name()))),
        TestCall::new(Method::GET, "/api/identity/user").token(admin),
        TestCall::new(Method::POST, "/api/identity/user")
            .token(admin)
            .body(with_password(details(&fresh_name()))),
        of_user(Method::GET),
        of_user(Method::PUT).body(details(name)),
        of_user(Method::DELETE),
    ];
    let document = include_str!("../../openapi.json");
    assert_eq!(uncalled(document, &calls).unwrap(), Vec::<String>::new());
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_dropped_anywhere_leaves_nothing_open() {
    let identity = TestIdentity::start().await;
    let admin = identity.access_token("admin").await;
    let user = identity.create_user(&admin, &fresh_name()).await;
    for index in 0..calls(&admin, &user).len() {
        let call = || calls(&admin, &user).swap_remove(index);
        let dropped = || {
            let call = call();
            let running = &identity.running;
            async move { running.call(&call).await }
        };
        let (status, body) = cut_everywhere(&call().name(), dropped).await;
        // An earlier one may have been carried out though it was dropped.
        assert!(
            !status.is_server_error(),
            "{}: {status} {body}",
            call().name()
        );
        eventually("no transaction is left open", SOON, async || {
            (identity.database.idle_transactions("identity").await == 0).then_some(())
        })
        .await;
        eventually("the relay's is the only lock", SOON, async || {
            (identity.database.advisory_locks("identity").await == 1).then_some(())
        })
        .await;
    }
    identity.create_user(&admin, &fresh_name()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_handled_while_the_schema_changes() {
    let identity = TestIdentity::start().await;
    let tokens = identity.sign_in("admin").await;
    let admin = tokens["access_token"].as_str().unwrap();
    let mut refreshed = tokens.clone();
    for change in [
        None,
        Some(TableChange::AddColumn),
        Some(TableChange::AddIndex),
        Some(TableChange::WidenColumns),
    ] {
        if let Some(change) = change {
            identity
                .database
                .change_tables(Identity::NAME, change)
                .await;
        }
        // More often than the service has sessions, several at a time.
        for _ in 0..5 {
            let user = identity.create_user(admin, &fresh_name()).await;
            let response = identity.refresh(&refreshed).await;
            assert!(response.status().is_success(), "after {change:?}");
            refreshed = response.json().await.unwrap();
            let name = user["userName"].as_str().unwrap();
            let refused = identity.try_sign_in(name, "wrong").await;
            assert_eq!(refused.status(), 400, "after {change:?}");
            let mut calls = calls(admin, &user);
            let delete = calls.pop().unwrap();
            let running = &identity.running;
            let answers = futures::future::join_all(calls.iter().map(|call| running.call(call)));
            let mut answers = answers.await;
            answers.push(running.call(&delete).await);
            for (status, body) in answers {
                assert!(status.is_success(), "after {change:?}: {status} {body}");
            }
        }
    }
}
