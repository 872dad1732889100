//! The user endpoints.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    PASSWORD, TestIdentity, details, fresh_name, path, problem, start_on, with_password,
};

async fn list(service: &TestIdentity, admin: &str, query: &str) -> Value {
    let path = format!("/api/identity/user?{query}");
    let response = service
        .request(Method::GET, &path)
        .bearer_auth(admin)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|user| user["userName"].as_str().unwrap())
        .collect()
}

async fn pointers(response: Response) -> Vec<String> {
    let body = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "validation").await;
    let errors = body["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_registered_user_is_a_customer_and_can_sign_in() {
    let service = TestIdentity::start().await;
    let name = fresh_name();
    let response = service
        .post("/api/identity/register", &with_password(details(&name)))
        .await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["etag"], "\"1\"");
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let user: Value = response.json().await.unwrap();
    assert_eq!(location, path(&user));
    assert_eq!(user["roles"], json!(["customer"]));
    assert_eq!(user["isActive"], true);
    assert!(!user.to_string().contains(PASSWORD));
    let response = service.try_sign_in(&name, PASSWORD).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn texts_that_can_not_be_stored_are_refused_wherever_a_user_is_written() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let user = service.create_user(&admin, &fresh_name()).await;
    for field in ["userName", "name", "surname", "email", "phoneNumber"] {
        let mut wrong = details(&fresh_name());
        wrong[field] = json!("a\u{0}bcdef");
        let registration = with_password(wrong.clone());
        let refused = service.post("/api/identity/register", &registration).await;
        assert_eq!(pointers(refused).await, [format!("/{field}")]);
        wrong["roles"] = json!(["customer"]);
        wrong["isActive"] = json!(true);
        let refused = service.replace(&admin, &user, &wrong).await;
        assert_eq!(pointers(refused).await, [format!("/{field}")]);
    }
}

#[tokio::test]
async fn a_registration_with_a_role_is_rejected() {
    let service = TestIdentity::start().await;
    let mut body = with_password(details(&fresh_name()));
    body["roles"] = json!(["admin"]);
    let response = service.post("/api/identity/register", &body).await;
    assert_eq!(pointers(response).await, ["/roles"]);
}

#[tokio::test]
async fn user_names_that_differ_only_in_case_are_taken() {
    let service = TestIdentity::start().await;
    let body = with_password(details("ALICE"));
    let response = service.post("/api/identity/register", &body).await;
    problem(response, StatusCode::CONFLICT, "user-name-taken").await;

    let admin = service.access_token("admin").await;
    let user = service.create_user(&admin, &fresh_name()).await;
    let response = service.replace(&admin, &user, &details("Bob")).await;
    problem(response, StatusCode::CONFLICT, "user-name-taken").await;
}

#[tokio::test]
async fn all_invalid_fields_are_reported_at_once() {
    let service = TestIdentity::start().await;
    let body = json!({
        "userName": "a b", "password": "short", "name": "", "surname": "x".repeat(65),
        "email": "nowhere", "phoneNumber": "call me",
    });
    let response = service.post("/api/identity/register", &body).await;
    let mut wrong = pointers(response).await;
    wrong.sort_unstable();
    assert_eq!(
        wrong,
        [
            "/email",
            "/name",
            "/password",
            "/phoneNumber",
            "/surname",
            "/userName"
        ]
    );
}

#[tokio::test]
async fn a_new_user_needs_a_password_and_known_roles() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let create = async |body: Value| {
        let request = service
            .request(Method::POST, "/api/identity/user")
            .bearer_auth(&admin);
        request.json(&body).send().await.unwrap()
    };
    assert_eq!(
        pointers(create(details(&fresh_name())).await).await,
        ["/password"]
    );
    let mut body = with_password(details(&fresh_name()));
    body["roles"] = json!(["customer", "emperor"]);
    assert_eq!(pointers(create(body).await).await, ["/roles/1"]);
}

#[tokio::test]
async fn a_stale_version_changes_nothing() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let user = service.create_user(&admin, &fresh_name()).await;
    let name = user["userName"].as_str().unwrap();
    let mut changed = details(name);
    changed["surname"] = json!("Murray");
    let response = service.replace(&admin, &user, &changed).await;
    assert_eq!(response.headers()["etag"], "\"2\"");

    let response = service.replace(&admin, &user, &details(name)).await;
    problem(response, StatusCode::PRECONDITION_FAILED, "stale").await;
    let request = service
        .request(Method::GET, &path(&user))
        .bearer_auth(&admin);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["etag"], "\"2\"");
    let stored: Value = response.json().await.unwrap();
    assert_eq!(stored["surname"], "Murray");
}

#[tokio::test]
async fn an_identical_update_keeps_the_version() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let user = service.create_user(&admin, &fresh_name()).await;
    let same = details(user["userName"].as_str().unwrap());
    let response = service.replace(&admin, &user, &same).await;
    assert_eq!(response.headers()["etag"], "\"1\"");
}

#[tokio::test]
async fn a_deleted_user_has_no_account_and_no_session() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let user = service.create_user(&admin, &fresh_name()).await;
    let name = user["userName"].as_str().unwrap();
    let session: Value = service
        .try_sign_in(name, PASSWORD)
        .await
        .json()
        .await
        .unwrap();

    assert_eq!(
        service.delete(&admin, &user).await.status(),
        StatusCode::NO_CONTENT
    );
    problem(
        service.delete(&admin, &user).await,
        StatusCode::NOT_FOUND,
        "not-found",
    )
    .await;
    let response = service.refresh(&session).await;
    problem(response, StatusCode::BAD_REQUEST, "invalid-grant").await;
    let token = session["access_token"].as_str().unwrap();
    let me = service
        .request(Method::GET, "/api/identity/me")
        .bearer_auth(token);
    problem(
        me.send().await.unwrap(),
        StatusCode::UNAUTHORIZED,
        "invalid-token",
    )
    .await;
}

#[tokio::test]
async fn administrators_can_not_lock_themselves_out() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let me = service
        .request(Method::GET, "/api/identity/me")
        .bearer_auth(&admin);
    let me: Value = me.send().await.unwrap().json().await.unwrap();
    let mut demoted = details("admin");
    demoted["roles"] = json!(["operator"]);
    let mut inactive = details("admin");
    inactive["roles"] = json!(["admin"]);
    inactive["isActive"] = json!(false);
    for response in [
        service.delete(&admin, &me).await,
        service.replace(&admin, &me, &demoted).await,
        service.replace(&admin, &me, &inactive).await,
    ] {
        problem(response, StatusCode::CONFLICT, "own-account").await;
    }
}

#[tokio::test]
async fn the_list_is_paged_in_the_order_of_user_names() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    service.create_user(&admin, "Carol").await;
    let mut all: Vec<String> = Vec::new();
    let mut query = "limit=2".to_owned();
    loop {
        let page = list(&service, &admin, &query).await;
        assert!(names(&page).len() <= 2);
        all.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(all, ["admin", "alice", "bob", "Carol", "olivia"]);
}

#[tokio::test]
async fn the_filter_matches_parts_of_names_and_addresses_literally() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    assert_eq!(
        names(&list(&service, &admin, "filter=OKAF").await),
        ["olivia"]
    );
    assert_eq!(
        names(&list(&service, &admin, "filter=bob%40example").await),
        ["bob"]
    );
    assert_eq!(names(&list(&service, &admin, "filter=%25").await), [""; 0]);
    assert_eq!(names(&list(&service, &admin, "filter=o_i").await), [""; 0]);
}

#[tokio::test]
async fn demo_users_are_created_only_once() {
    let service = TestIdentity::start().await;
    let admin = service.access_token("admin").await;
    let found = list(&service, &admin, "filter=bob").await;
    let response = service.delete(&admin, &found["items"][0]).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);

    let again = start_on(&service.database, &service.broker).await;
    let all = list(&service, &admin, "").await;
    assert_eq!(names(&all), ["admin", "alice", "olivia"]);
    again.shutdown().await;
}
