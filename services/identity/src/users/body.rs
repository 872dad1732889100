//! Users in requests and responses.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde::{Deserialize, Serialize};
use service_host::{Problem, Violations};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::{Email, PersonName, PhoneNumber, UserName};
use super::role::Role;
use super::user::{Profile, User};
use crate::passwords::Password;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(crate) struct UserBody {
    id: Uuid,
    /// The name that the user signs in with.
    user_name: String,
    /// Given name.
    name: Option<String>,
    /// Family name.
    surname: Option<String>,
    email: String,
    phone_number: Option<String>,
    /// Whether the user may sign in.
    is_active: bool,
    roles: BTreeSet<Role>,
    /// Increases with every change. It is also the entity tag.
    version: i64,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        let eto = user.to_eto();
        Self {
            id: eto.id,
            user_name: eto.user_name,
            name: eto.name,
            surname: eto.surname,
            email: eto.email,
            phone_number: eto.phone_number,
            is_active: eto.is_active,
            roles: user.profile.roles,
            version: eto.version,
        }
    }
}

/// The registration of a new customer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Registration {
    /// The name to sign in with: letters, digits, `.`, `_` and `-`. Unique regardless of case.
    #[schema(min_length = 3, max_length = 64, example = "ada")]
    user_name: String,
    #[schema(min_length = 8, max_length = 128, format = Password)]
    password: String,
    /// Given name.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// Family name.
    #[schema(min_length = 1, max_length = 64)]
    surname: Option<String>,
    #[schema(max_length = 254, format = Email)]
    email: String,
    #[schema(min_length = 5, max_length = 32, example = "+49 30 123456")]
    phone_number: Option<String>,
}

/// The details of a user, as an administrator sets them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UserDetails {
    /// The name to sign in with: letters, digits, `.`, `_` and `-`. Unique regardless of case.
    #[schema(min_length = 3, max_length = 64, example = "ada")]
    user_name: String,
    /// Required for a new user. For an existing user, a new password ends the user's sessions.
    #[schema(min_length = 8, max_length = 128, format = Password)]
    password: Option<String>,
    /// Given name.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// Family name.
    #[schema(min_length = 1, max_length = 64)]
    surname: Option<String>,
    #[schema(max_length = 254, format = Email)]
    email: String,
    #[schema(min_length = 5, max_length = 32, example = "+49 30 123456")]
    phone_number: Option<String>,
    /// Whether the user may sign in. Setting it to `false` ends the user's sessions.
    #[serde(default = "active")]
    is_active: bool,
    #[serde(default = "customer")]
    roles: BTreeSet<Role>,
}

fn active() -> bool {
    true
}

fn customer() -> BTreeSet<Role> {
    BTreeSet::from([Role::Customer])
}

impl Registration {
    /// Validates the registration. Returns the profile and the password of the new customer.
    pub(super) fn parse(self) -> Result<(Profile, Password), Problem> {
        UserDetails {
            user_name: self.user_name,
            password: Some(self.password),
            name: self.name,
            surname: self.surname,
            email: self.email,
            phone_number: self.phone_number,
            is_active: true,
            roles: customer(),
        }
        .parse_new()
    }
}

impl UserDetails {
    /// Validates the details of a new user. Returns the profile and the password.
    pub(super) fn parse_new(mut self) -> Result<(Profile, Password), Problem> {
        let mut violations = Violations::new();
        let password = match self.password.take() {
            Some(text) => violations.check("/password", Password::parse(text)),
            None => violations.check("/password", Err("is required for a new user")),
        };
        match (self.profile(&mut violations), password) {
            (Some(profile), Some(password)) => Ok((profile, password)),
            _ => Err(violations.into()),
        }
    }

    /// Validates the details of an existing user. Returns the profile and the new password, if any.
    pub(super) fn parse_change(mut self) -> Result<(Profile, Option<Password>), Problem> {
        let mut violations = Violations::new();
        let password = optional(
            &mut violations,
            "/password",
            self.password.take(),
            Password::parse,
        );
        match (self.profile(&mut violations), password) {
            (Some(profile), Some(password)) => Ok((profile, password)),
            _ => Err(violations.into()),
        }
    }

    /// Returns the profile if all its fields are valid, and adds the violations otherwise.
    fn profile(self, violations: &mut Violations) -> Option<Profile> {
        let person_name = |text: String| PersonName::parse(&text);
        let user_name = violations.check("/userName", UserName::parse(&self.user_name));
        let name = optional(violations, "/name", self.name, person_name);
        let surname = optional(violations, "/surname", self.surname, person_name);
        let email = violations.check("/email", Email::parse(&self.email));
        let phone_number = optional(violations, "/phoneNumber", self.phone_number, |text| {
            PhoneNumber::parse(&text)
        });
        Some(Profile {
            user_name: user_name?,
            name: name?,
            surname: surname?,
            email: email?,
            phone_number: phone_number?,
            is_active: self.is_active,
            roles: self.roles,
        })
    }
}

/// Checks an optional field. A missing field is valid, a present one must parse.
fn optional<T, E: Display>(
    violations: &mut Violations,
    pointer: &str,
    text: Option<String>,
    parse: impl FnOnce(String) -> Result<T, E>,
) -> Option<Option<T>> {
    match text {
        Some(text) => violations.check(pointer, parse(text)).map(Some),
        None => Some(None),
    }
}
