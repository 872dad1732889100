//! Who may do what: a case for every operation that the OpenAPI document knows.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use service_host::TestIssuer;
use uuid::Uuid;

use crate::support::{Answer, Instance, MANAGE, TestCatalog};

/// Whom an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Everybody,
    Managers,
}

const CASES: [(&str, &str, For); 8] = [
    ("GET", "/api/catalog/product", For::Everybody),
    ("GET", "/api/catalog/product/{id}", For::Everybody),
    ("GET", "/integration-api/catalog/product", For::Everybody),
    ("POST", "/api/catalog/product", For::Managers),
    ("PUT", "/api/catalog/product/{id}", For::Managers),
    ("DELETE", "/api/catalog/product/{id}", For::Managers),
    ("PUT", "/api/catalog/product/{id}/price", For::Managers),
    ("POST", "/api/catalog/product/{id}/restock", For::Managers),
];

/// Asks with a token, or as a guest. The body is never a valid one: who may not write is to hear
/// that before anything else.
async fn ask(instance: &Instance, method: &str, path: &str, token: Option<&str>) -> Answer {
    let path = path.replace("{id}", &Uuid::now_v7().to_string());
    let method: Method = method.parse().expect("a method");
    let mut request = instance.request(method, &path).json(&json!([]));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    Answer::to(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_managers_write_and_everybody_reads() {
    let catalog = TestCatalog::start().await;
    let instance = &catalog.instance;
    let issuer = &catalog.servers.issuer;
    let user = Uuid::now_v7();
    let customer = issuer.token(user, "Alice", &["ordering.orders.read"]);
    let manager = issuer.token(user, "Olivia", &[MANAGE]);
    let expired = issuer.sign(&service_host::Claims {
        iat: 1_700_000_000,
        exp: 1_700_000_900,
        ..TestIssuer::claims(user, "Olivia", &[MANAGE])
    });
    let stranger = TestIssuer::start().await.token(user, "Olivia", &[MANAGE]);

    for (method, path, whom) in CASES {
        let guest = ask(instance, method, path, None).await;
        let as_customer = ask(instance, method, path, Some(&customer)).await;
        let as_manager = ask(instance, method, path, Some(&manager)).await;
        assert!(![401, 403].contains(&as_manager.status), "{method} {path}");
        if whom == For::Everybody {
            for answer in [guest, as_customer] {
                assert!(![401, 403].contains(&answer.status), "{method} {path}");
            }
            continue;
        }
        guest.is_problem(401, "not-signed-in");
        as_customer.is_problem(403, "forbidden");
        for token in [&expired, &stranger, "not-a-token"] {
            let answer = ask(instance, method, path, Some(token)).await;
            answer.is_problem(401, "invalid-token");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_has_a_case_and_says_in_the_document_whom_it_is_for() {
    let catalog = TestCatalog::start().await;
    let document = catalog.get("/api-docs/openapi.json").await.body;
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let whom = if operation["security"] == Value::Null {
                "everybody"
            } else {
                "managers"
            };
            documented.insert((method.to_uppercase(), path.clone(), whom));
        }
    }
    let cases = CASES.map(|(method, path, whom)| {
        let whom = match whom {
            For::Everybody => "everybody",
            For::Managers => "managers",
        };
        (method.to_owned(), path.to_owned(), whom)
    });
    assert_eq!(documented, BTreeSet::from(cases));
}
