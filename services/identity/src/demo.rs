//! Creates the demo users.

use std::collections::BTreeSet;

use anyhow::Context;
use secrecy::ExposeSecret;
use service_host::App;
use sqlx::{PgConnection, query};

use crate::Identity;
use crate::passwords::{self, Password};
use crate::users::{self, Email, PersonName, Profile, Role, User, UserName};

/// User name, given name, family name, role.
const USERS: [(&str, &str, &str, Role); 4] = [
    ("alice", "Alice", "Archer", Role::Customer),
    ("bob", "Bob", "Baker", Role::Customer),
    ("olivia", "Olivia", "Okafor", Role::Operator),
    ("admin", "Ada", "Miller", Role::Admin),
];

/// Creates the demo users at the first start only, so that a deleted demo user stays deleted.
pub(crate) async fn seed(app: &App<Identity>) -> anyhow::Result<()> {
    let mut work = app.bus.begin().await?;
    if !claim_seeding(&mut work).await? {
        return Ok(());
    }
    for (user_name, name, surname, role) in USERS {
        // A customer may have registered under this name already.
        if users::storage::find_by_name(&app.pool, user_name)
            .await?
            .is_some()
        {
            continue;
        }
        let user = User::new(Profile {
            user_name: UserName::parse(user_name)?,
            name: Some(PersonName::parse(name)?),
            surname: Some(PersonName::parse(surname)?),
            email: Email::parse(&format!("{user_name}@example.org"))?,
            phone_number: None,
            is_active: true,
            roles: BTreeSet::from([role]),
        });
        let password = Password::parse(app.settings.demo_password.expose_secret().to_owned())?;
        let hash = app.state.hasher.hash(password).await?;
        users::storage::insert(&mut work, &user).await?;
        passwords::storage::set(&mut work, user.id, &hash).await?;
    }
    work.commit()
        .await
        .context("failed to create the demo users")?;
    tracing::info!("created the demo users");
    Ok(())
}

/// Records that the demo users are created, and returns whether this call is the first to do so.
///
/// If another instance is creating them right now, the insert waits for its transaction.
async fn claim_seeding(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let done = query!("insert into plantings (name) values ('demo users') on conflict do nothing")
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}
