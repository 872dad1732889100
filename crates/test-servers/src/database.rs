//! A database for one test.

use reqwest::Url;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::clean_up;
use crate::environment::server_url;

/// Connections a [`TestDatabase::pool`] opens at most. Small enough for many tests at once.
const POOL_SIZE: u32 = 10;

/// A PostgreSQL database of its own, dropped with everything in it when this value is dropped.
///
/// It is laid out as a deployment's is: each role owns one schema, named like the role and first
/// on its search path, and can use no other.
#[derive(Debug)]
pub struct TestDatabase {
    server: Url,
    name: String,
}

impl TestDatabase {
    /// Makes a database with a fresh name and, for every role, a login role (its password is its
    /// name) and a schema of that name that it owns.
    ///
    /// # Panics
    ///
    /// If the server can't be reached or refuses, or a role is not a plain lower-case name.
    pub async fn create(roles: &[&str]) -> Self {
        let database = Self {
            server: server_url("TEST_POSTGRES_URL"),
            name: format!("test_{}", Uuid::now_v7().simple()),
        };
        let name = &database.name;

        let mut server = connect(&database.server).await;
        for role in roles {
            create_role(&mut server, role).await;
        }
        run(&mut server, format!("create database {name}")).await;
        run(
            &mut server,
            format!("revoke all on database {name} from public"),
        )
        .await;
        for role in roles {
            run(
                &mut server,
                format!("grant connect, temporary on database {name} to {role}"),
            )
            .await;
        }
        close(server).await;

        let mut inside = connect(&database.superuser_url()).await;
        for role in roles {
            run(
                &mut inside,
                format!("create schema {role} authorization {role}"),
            )
            .await;
        }
        close(inside).await;
        database
    }

    /// The URL by which `role` connects, as `postgres://role:role@host:port/database`.
    #[must_use]
    pub fn url(&self, role: &str) -> String {
        let mut url = self.superuser_url();
        url.set_username(role)
            .and_then(|()| url.set_password(Some(role)))
            .expect("a PostgreSQL URL names a host, so it can name a user");
        url.into()
    }

    /// A pool of at most ten connections as `role`.
    ///
    /// # Panics
    ///
    /// If no connection can be made.
    pub async fn pool(&self, role: &str) -> PgPool {
        PgPoolOptions::new()
            .max_connections(POOL_SIZE)
            .connect(&self.url(role))
            .await
            .unwrap_or_else(|error| panic!("no pool for role {role} in {}: {error}", self.name))
    }

    /// Lets a role make schemas of its own.
    ///
    /// # Panics
    ///
    /// If the server can't be reached.
    pub async fn allow_schemas(&self, role: &str) {
        let mut server = connect(&self.server).await;
        let name = &self.name;
        run(
            &mut server,
            format!("grant create on database {name} to {role}"),
        )
        .await;
        close(server).await;
    }

    /// Ends every connection to this database from the server's side, as a restart of the server
    /// would, and tells how many there were.
    ///
    /// # Panics
    ///
    /// If the server can't be reached.
    pub async fn close_connections(&self) -> usize {
        let mut server = connect(&self.server).await;
        let closed = sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
        )
        .bind(&self.name)
        .fetch_all(&mut server)
        .await
        .expect("a superuser may end connections");
        close(server).await;
        closed.len()
    }

    /// Changes every table in a role's schema as migrations of a later version may, while programs
    /// of this version run: adds a column, adds an index, or widens the type of each column that has
    /// a wider one.
    ///
    /// # Panics
    ///
    /// If the server can't be reached, or a table could not be changed.
    pub async fn change_tables(&self, role: &str, change: TableChange) {
        let mut own = PgConnection::connect(&self.url(role))
            .await
            .expect("a connection of the role");
        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class
             where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')
               and not relispartition and relname not like '%migrations'
             order by relname",
        )
        .fetch_all(&mut own)
        .await
        .expect("tables");
        for table in tables {
            for statement in change.statements(&mut own, &table).await {
                run(&mut own, statement).await;
            }
        }
        close(own).await;
    }

    /// How many of a role's sessions are in a transaction and do nothing in it.
    ///
    /// # Panics
    ///
    /// If the server can't be reached.
    pub async fn idle_transactions(&self, role: &str) -> i64 {
        self.count(
            role,
            "select count(*) from pg_stat_activity
             where datname = current_database() and usename = $1
               and state like 'idle in transaction%'",
        )
        .await
    }

    /// How many advisory locks the sessions of a role hold.
    ///
    /// # Panics
    ///
    /// If the server can't be reached.
    pub async fn advisory_locks(&self, role: &str) -> i64 {
        self.count(
            role,
            "select count(*) from pg_locks join pg_stat_activity using (pid)
             where datname = current_database() and usename = $1 and locktype = 'advisory'",
        )
        .await
    }

    async fn count(&self, role: &str, query: &'static str) -> i64 {
        let mut inside = connect(&self.superuser_url()).await;
        let count = sqlx::query_scalar(query)
            .bind(role)
            .fetch_one(&mut inside)
            .await
            .expect("a superuser sees all sessions");
        close(inside).await;
        count
    }

    /// This database, entered as the server's superuser.
    fn superuser_url(&self) -> Url {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let server = self.server.clone();
        let statement = format!("drop database if exists {} with (force)", self.name);
        clean_up::run_to_end(async move {
            if let Ok(mut server) = PgConnection::connect(server.as_str()).await {
                sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(&mut server)
                    .await
                    .ok();
                server.close().await.ok();
            }
        });
    }
}

/// A change that leaves programs of an earlier version working, see
/// [`TestDatabase::change_tables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableChange {
    /// Adds a column with a default.
    AddColumn,
    /// Adds an index on the column that was added.
    AddIndex,
    /// Widens the types of columns.
    WidenColumns,
}

impl TableChange {
    async fn statements(self, connection: &mut PgConnection, table: &str) -> Vec<String> {
        match self {
            Self::AddColumn => vec![format!(
                "alter table {table} add column added_later text not null default 'later'"
            )],
            Self::AddIndex => vec![format!("create index on {table} (added_later)")],
            Self::WidenColumns => widenings(connection, table).await,
        }
    }
}

/// The columns of a table that have a wider type which the program reads all the same. Not those
/// that a partition key or a constraint between types is made of.
async fn widenings(connection: &mut PgConnection, table: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select format('alter table %I alter column %I type %s', $1, attname, case typname
                    when 'int4' then 'bigint' when 'text' then 'varchar'
                    when 'numeric' then 'numeric' else 'timestamptz(6)' end)
         from pg_attribute join pg_type on pg_type.oid = atttypid
         where attrelid = $1::regclass and attnum > 0 and not attisdropped
           and attgenerated = '' and attidentity = ''
           and typname in ('int4', 'text', 'numeric', 'timestamptz')",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .expect("columns")
}

/// Roles belong to the server, not to one database, so tests that run at the same time ask for the
/// same ones: the lock lets one of them create a role and the others find it.
async fn create_role(server: &mut PgConnection, role: &str) {
    assert!(
        !role.is_empty()
            && role
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
        "a role is a plain lower-case name, not {role:?}"
    );
    run(
        server,
        format!(
            "do $$ begin
                perform pg_advisory_xact_lock(hashtext('test-servers: roles'));
                if not exists (select from pg_roles where rolname = '{role}') then
                    create role {role} login password '{role}';
                end if;
            end $$"
        ),
    )
    .await;
}

async fn connect(url: &Url) -> PgConnection {
    PgConnection::connect(url.as_str())
        .await
        .unwrap_or_else(|error| panic!("no connection to TEST_POSTGRES_URL: {error}"))
}

async fn run(connection: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Says good-bye to the server, so that a test's connections are gone before the next step counts
/// or drops something.
async fn close(connection: PgConnection) {
    connection.close().await.ok();
}
