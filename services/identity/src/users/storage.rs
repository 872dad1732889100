//! All SQL about users.

use std::collections::BTreeSet;

use event_bus::{
    EntityStore, EventBusBuilder, Repository, RepositoryError, SnapshotSource, UnitOfWork,
};
use event_contracts::identity::UserEto;
use sqlx::{PgConnection, PgPool, query, query_as};
use uuid::Uuid;

use super::fields::{Email, PersonName, PhoneNumber, UserName};
use super::role::Role;
use super::user::{Profile, User, UserId};

/// The unique index on user names, ignoring case.
pub(crate) const USER_NAME_TAKEN: &str = "users_user_name_key";

const USERS: Repository<UserStore> = Repository::new();

/// Inserts the user and publishes the event.
pub(crate) async fn insert(work: &mut UnitOfWork, user: &User) -> Result<(), RepositoryError> {
    USERS.insert(work, user).await
}

/// Updates the user and publishes the event.
pub(crate) async fn update(work: &mut UnitOfWork, user: &User) -> Result<(), RepositoryError> {
    USERS.update(work, user).await
}

/// Deletes the user with password and sessions, and publishes the event.
pub(crate) async fn delete(work: &mut UnitOfWork, user: &User) -> Result<(), RepositoryError> {
    USERS.delete(work, user).await
}

/// Serves snapshots of the users to services that replicate them.
pub(crate) fn serve_snapshots(bus: EventBusBuilder) -> EventBusBuilder {
    bus.serve_snapshots::<UserStore>()
}

/// Private, so that no user is written without an event.
struct UserStore;

impl EntityStore for UserStore {
    type Entity = User;
    type Eto = UserEto;

    fn eto(user: &User) -> UserEto {
        user.to_eto()
    }

    async fn insert(connection: &mut PgConnection, user: &User) -> Result<(), sqlx::Error> {
        let profile = &user.profile;
        query!(
            "insert into users
                 (id, user_name, name, surname, email, phone_number, is_active, roles, version)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            user.id.0,
            profile.user_name.as_str(),
            profile.name.as_ref().map(PersonName::as_str),
            profile.surname.as_ref().map(PersonName::as_str),
            profile.email.as_str(),
            profile.phone_number.as_ref().map(PhoneNumber::as_str),
            profile.is_active,
            &names(&profile.roles),
            user.version,
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn update(connection: &mut PgConnection, user: &User) -> Result<(), sqlx::Error> {
        let profile = &user.profile;
        let done = query!(
            "update users
             set user_name = $2, name = $3, surname = $4, email = $5, phone_number = $6,
                 is_active = $7, roles = $8, version = $9, updated_at = now()
             where id = $1 and version < $9",
            user.id.0,
            profile.user_name.as_str(),
            profile.name.as_ref().map(PersonName::as_str),
            profile.surname.as_ref().map(PersonName::as_str),
            profile.email.as_str(),
            profile.phone_number.as_ref().map(PhoneNumber::as_str),
            profile.is_active,
            &names(&profile.roles),
            user.version,
        )
        .execute(connection)
        .await?;
        one(done.rows_affected())
    }

    async fn delete(connection: &mut PgConnection, user: &User) -> Result<(), sqlx::Error> {
        let done = query!("delete from users where id = $1", user.id.0)
            .execute(connection)
            .await?;
        one(done.rows_affected())
    }
}

impl SnapshotSource for UserStore {
    async fn page(
        connection: &mut PgConnection,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<User>, sqlx::Error> {
        let rows = query_as!(
            Row,
            r#"select id, user_name as "user_name: UserName", name as "name: PersonName",
                      surname as "surname: PersonName", email as "email: Email",
                      phone_number as "phone_number: PhoneNumber", is_active, roles, version
               from users where $1::uuid is null or id > $1 order by id limit $2"#,
            after,
            limit,
        )
        .fetch_all(connection)
        .await?;
        Ok(rows.into_iter().map(User::from).collect())
    }
}

/// Checks that one row was written. The caller has locked the user, so the row must exist.
fn one(rows: u64) -> Result<(), sqlx::Error> {
    if rows == 1 {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

fn names(roles: &BTreeSet<Role>) -> Vec<String> {
    roles.iter().map(|role| role.name().to_owned()).collect()
}

/// A row of `users`. Its fields were validated before they were stored.
struct Row {
    id: Uuid,
    user_name: UserName,
    name: Option<PersonName>,
    surname: Option<PersonName>,
    email: Email,
    phone_number: Option<PhoneNumber>,
    is_active: bool,
    roles: Vec<String>,
    version: i64,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            id: UserId(row.id),
            profile: Profile {
                user_name: row.user_name,
                name: row.name,
                surname: row.surname,
                email: row.email,
                phone_number: row.phone_number,
                is_active: row.is_active,
                // A check constraint rejects other names.
                roles: row
                    .roles
                    .iter()
                    .filter_map(|name| Role::named(name))
                    .collect(),
            },
            version: row.version,
        }
    }
}

/// Finds a user by id.
pub(crate) async fn find(pool: &PgPool, id: UserId) -> Result<Option<User>, sqlx::Error> {
    let row = query_as!(
        Row,
        r#"select id, user_name as "user_name: UserName", name as "name: PersonName",
                  surname as "surname: PersonName", email as "email: Email",
                  phone_number as "phone_number: PhoneNumber", is_active, roles, version
           from users where id = $1"#,
        id.0,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(User::from))
}

/// Finds a user by id, and locks it until the unit of work ends.
pub(crate) async fn find_for_update(
    connection: &mut PgConnection,
    id: UserId,
) -> Result<Option<User>, sqlx::Error> {
    let row = query_as!(
        Row,
        r#"select id, user_name as "user_name: UserName", name as "name: PersonName",
                  surname as "surname: PersonName", email as "email: Email",
                  phone_number as "phone_number: PhoneNumber", is_active, roles, version
           from users where id = $1 for update"#,
        id.0,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(User::from))
}

/// Finds a user by user name, ignoring case.
pub(crate) async fn find_by_name(
    pool: &PgPool,
    user_name: &str,
) -> Result<Option<User>, sqlx::Error> {
    let row = query_as!(
        Row,
        r#"select id, user_name as "user_name: UserName", name as "name: PersonName",
                  surname as "surname: PersonName", email as "email: Email",
                  phone_number as "phone_number: PhoneNumber", is_active, roles, version
           from users where lower(user_name) = lower($1)"#,
        user_name,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(User::from))
}

/// Lists at most `limit` users, ordered by user name ignoring case.
///
/// Only users with `filter` anywhere in the user name, the names or the e-mail address are listed.
/// The list starts after the user name `after`.
pub(super) async fn list(
    pool: &PgPool,
    filter: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<User>, sqlx::Error> {
    let rows = query_as!(
        Row,
        r#"select id, user_name as "user_name: UserName", name as "name: PersonName",
                  surname as "surname: PersonName", email as "email: Email",
                  phone_number as "phone_number: PhoneNumber", is_active, roles, version
           from users
           where ($1::text is null or position(lower($1) in lower(
                      concat_ws(' ', user_name, name, surname, email))) > 0)
             and ($2::text is null or lower(user_name) > lower($2))
           order by lower(user_name)
           limit $3"#,
        filter,
        after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(User::from).collect())
}
