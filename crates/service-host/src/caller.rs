//! Who asks, and what they may do.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use uuid::Uuid;

use crate::app::App;
use crate::problem::Problem;
use crate::service::Service;
use crate::token::{Claims, TokenError};

/// Whoever sent the request.
///
/// As an extractor: no `Authorization` header is a guest; a token that is not accepted is refused
/// with 401 even where a guest would do, since the client believes to be somebody. While the key
/// set could not be fetched yet, a token gets 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Guest,
    /// A signed-in user.
    User(User),
}

/// A signed-in user, as the access token describes them.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Id of the user.
    pub id: Uuid,
    /// Name to be shown; personal data, not for logs.
    pub name: String,
    /// Name to sign in with.
    pub user_name: String,
    /// Names of the roles.
    pub roles: Vec<String>,
    /// What the roles allow.
    pub permissions: BTreeSet<String>,
}

/// Names are personal data, so they are left out.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

impl User {
    /// Whether the user has the permission.
    #[must_use]
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.contains(permission)
    }
}

impl Caller {
    /// The user, if one is signed in.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::Guest => None,
            Self::User(user) => Some(user),
        }
    }

    /// Whether the caller is a user who has the permission.
    #[must_use]
    pub fn may(&self, permission: &str) -> bool {
        self.user().is_some_and(|user| user.may(permission))
    }

    /// The user.
    ///
    /// # Errors
    ///
    /// 401 for a guest.
    pub fn signed_in(&self) -> Result<&User, Problem> {
        self.user().ok_or_else(Problem::not_signed_in)
    }

    /// The user, who has the permission.
    ///
    /// # Errors
    ///
    /// 401 for a guest, 403 for a user who lacks the permission.
    pub fn require(&self, permission: &str) -> Result<&User, Problem> {
        let user = self.signed_in()?;
        if user.may(permission) {
            Ok(user)
        } else {
            Err(Problem::forbidden(permission))
        }
    }
}

impl From<Claims> for User {
    fn from(claims: Claims) -> Self {
        Self {
            id: claims.sub,
            name: claims.name,
            user_name: claims.preferred_username,
            roles: claims.roles,
            permissions: claims.permissions.into_iter().collect(),
        }
    }
}

impl<S: Service> FromRequestParts<App<S>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<S>) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
            return Ok(Self::Guest);
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let Some(token) = token else {
            return Err(Problem::invalid_token(
                "The header has to be `Authorization: Bearer …`.",
            ));
        };
        match app.tokens.verify(token).await {
            Ok(claims) => Ok(Self::User(claims.into())),
            Err(error @ TokenError::NoKeys) => Err(Problem::unavailable(error)),
            Err(error) => Err(Problem::invalid_token(error.to_string())),
        }
    }
}

/// A permission, as a type, so that a handler asks for it in its signature.
pub trait Permission {
    /// Its name, such as `catalog.products.manage`.
    const NAME: &'static str;
}

/// A signed-in user, whatever they may do. A guest is refused with 401 before the body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn(pub User);

impl<S: Service> FromRequestParts<App<S>> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<S>) -> Result<Self, Problem> {
        match Caller::from_request_parts(parts, app).await? {
            Caller::User(user) => Ok(Self(user)),
            Caller::Guest => Err(Problem::not_signed_in()),
        }
    }
}

/// A user who has the permission `P`. Others are refused, guests with 401 and users with 403,
/// before the body is read: who may not write learns nothing about what they wrote.
pub struct Permitted<P> {
    /// The user.
    pub user: User,
    permission: PhantomData<fn() -> P>,
}

impl<P: Permission, S: Service> FromRequestParts<App<S>> for Permitted<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<S>) -> Result<Self, Problem> {
        let SignedIn(user) = SignedIn::from_request_parts(parts, app).await?;
        if user.may(P::NAME) {
            let permission = PhantomData;
            Ok(Self { user, permission })
        } else {
            Err(Problem::forbidden(P::NAME))
        }
    }
}

impl<P: Permission> fmt::Debug for Permitted<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permitted<{}>({})", P::NAME, self.user.id)
    }
}
