//! Issues tokens for a grant.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use secrecy::SecretString;
use serde::Serialize;
use service_host::problem::{Answer, Problem};
use service_host::{App, Claims, ISSUER, MAX_LIFETIME};
use utoipa::ToSchema;

use super::grant::Grant;
use super::refresh_token::RefreshToken;
use super::{storage, throttle};
use crate::settings::is_refused;
use crate::users::{Role, User, UserId};
use crate::{Identity, passwords, users};

/// No user has a longer name, so failures for longer names are not counted.
const LONGEST_USER_NAME: usize = 256;

/// Tokens for a signed-in user (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub(super) struct Tokens {
    /// A JWT for `Authorization: Bearer`, signed with a key from `/.well-known/jwks.json`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 900)]
    expires_in: u64,
    /// Valid once, to obtain the next tokens of this session.
    refresh_token: String,
}

/// Issues tokens for the grant.
pub(super) async fn tokens_for(app: &App<Identity>, grant: Grant) -> Answer<Tokens> {
    match grant {
        Grant::Password {
            user_name,
            password,
        } => sign_in(app, &user_name, password).await,
        Grant::Refresh(token) => refresh(app, &token).await,
    }
}

async fn sign_in(app: &App<Identity>, user_name: &str, password: SecretString) -> Answer<Tokens> {
    if user_name.len() > LONGEST_USER_NAME || user_name.contains('\0') {
        return Err(invalid_grant());
    }
    // A demo user may remain from an earlier start in development.
    let is_refused = is_refused(app.environment, &password);
    // From here on, the number of turns limits the number of concurrent guesses.
    let turn = app.state.hasher.turn().await;
    throttle::check(&app.pool, user_name).await?;
    let user = users::storage::find_by_name(&app.pool, user_name).await?;
    let hash = match &user {
        Some(user) => passwords::storage::find(&app.pool, user.id).await?,
        None => None,
    };
    // Also for an unknown user, which must take as long as a wrong password.
    let is_right = app.state.hasher.verify(turn, password, hash).await?;
    let Some(user) = user.filter(|user| is_right && !is_refused && user.profile.is_active) else {
        throttle::failed(&app.pool, user_name).await?;
        return Err(invalid_grant());
    };
    throttle::succeeded(&app.pool, user_name).await?;
    let token = RefreshToken::generate().map_err(Problem::internal)?;
    let mut work = app.bus.begin().await?;
    storage::begin(&mut work, user.id, &token).await?;
    work.commit().await?;
    issue(app, &user, &token)
}

async fn refresh(app: &App<Identity>, token: &RefreshToken) -> Answer<Tokens> {
    let next = RefreshToken::generate().map_err(Problem::internal)?;
    let mut work = app.bus.begin().await?;
    let found = storage::find_for_update(&mut work, token).await?;
    let session = found
        .filter(|found| !found.is_expired)
        .ok_or_else(invalid_grant)?;
    let user_id = UserId(session.user_id);
    let user = users::storage::find_for_update(&mut work, user_id).await?;
    let user = user.filter(|user| user.profile.is_active && !session.is_used);
    let Some(user) = user else {
        // A reused token has been copied, and the newer token may be the attacker's. So the whole
        // session ends.
        storage::end(&mut work, session.session_id).await?;
        work.commit().await?;
        tracing::warn!(
            user = %user_id.0,
            reused = session.is_used,
            "ended a session: token reused or user inactive"
        );
        return Err(invalid_grant());
    };
    storage::rotate(&mut work, session.session_id, token, &next).await?;
    work.commit().await?;
    issue(app, &user, &next)
}

fn issue(app: &App<Identity>, user: &User, refresh_token: &RefreshToken) -> Answer<Tokens> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(Problem::internal)?
        .as_secs();
    let roles = &user.profile.roles;
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: ISSUER.to_owned(),
        sub: user.id.0,
        name: user.display_name(),
        preferred_username: user.profile.user_name.as_str().to_owned(),
        roles: roles.iter().map(|role| role.name().to_owned()).collect(),
        permissions: Role::permissions_of(roles)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        iat: now,
        exp: now + MAX_LIFETIME,
    };
    Ok(Tokens {
        access_token: app.state.keys.sign(&claims)?,
        token_type: "Bearer",
        expires_in: MAX_LIFETIME,
        refresh_token: refresh_token.reveal().to_owned(),
    })
}

/// The error of RFC 6749, section 5.2. It does not reveal whether the user name, the password or
/// the token is wrong.
fn invalid_grant() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "invalid-grant",
        "Invalid user name, password or refresh token",
    )
    .with_member("error", "invalid_grant")
}
