//! A test's database against a real PostgreSQL.
#![expect(clippy::expect_used, reason = "what fails here has to fail the test")]

use sqlx::{Connection, PgConnection};
use test_servers::TestDatabase;

#[tokio::test]
async fn each_role_owns_a_schema_and_sees_no_other() {
    let database = TestDatabase::create(&["test_alpha", "test_beta"]).await;
    let alpha = database.pool("test_alpha").await;
    let beta = database.pool("test_beta").await;

    sqlx::query("create table things (id int)")
        .execute(&alpha)
        .await
        .expect("a role may create tables in its schema");
    let schema: String =
        sqlx::query_scalar("select schemaname from pg_tables where tablename = 'things'")
            .fetch_one(&alpha)
            .await
            .expect("the table is there");
    assert_eq!(schema, "test_alpha");

    let refused = sqlx::query("select * from test_alpha.things")
        .execute(&beta)
        .await
        .expect_err("another role's schema is closed");
    let code = refused
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    assert_eq!(code.as_deref(), Some("42501"), "{refused}");
}

#[tokio::test]
async fn databases_made_at_once_are_apart() {
    let (one, other) = tokio::join!(
        TestDatabase::create(&["test_alpha"]),
        TestDatabase::create(&["test_alpha"]),
    );
    assert_ne!(one.url("test_alpha"), other.url("test_alpha"));
}

#[tokio::test]
async fn a_database_goes_with_its_owner_although_a_pool_is_open() {
    let database = TestDatabase::create(&["test_alpha"]).await;
    let url = database.url("test_alpha");
    let _pool = database.pool("test_alpha").await;
    drop(database);
    assert_no_database(&url).await;
}

#[tokio::test]
async fn a_database_goes_when_the_test_panics() {
    let database = TestDatabase::create(&["test_alpha"]).await;
    let url = database.url("test_alpha");
    let failed = tokio::spawn(async move {
        let _owned = database;
        std::panic::resume_unwind(Box::new("a failing test"));
    });
    assert!(failed.await.expect_err("it panicked").is_panic());
    assert_no_database(&url).await;
}

#[tokio::test]
async fn connections_are_closed_from_the_servers_side() {
    let database = TestDatabase::create(&["test_alpha"]).await;
    let mut connection = PgConnection::connect(&database.url("test_alpha"))
        .await
        .expect("the role may connect");
    assert_eq!(database.close_connections().await, 1);
    connection
        .ping()
        .await
        .expect_err("the connection was closed");
}

async fn assert_no_database(url: &str) {
    let refused = PgConnection::connect(url)
        .await
        .expect_err("the database is gone");
    let code = refused
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    assert_eq!(code.as_deref(), Some("3D000"), "{refused}");
}
