//! The domain type of a user, with its rules.

use std::collections::BTreeSet;

use event_contracts::identity::UserEto;
use uuid::Uuid;

use super::fields::{Email, PersonName, PhoneNumber, UserName};
use super::role::Role;

/// Id of a user, which is also the subject of the user's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserId(pub(crate) Uuid);

impl From<Uuid> for UserId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

/// The part of a user that an administrator may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) user_name: UserName,
    pub(crate) name: Option<PersonName>,
    pub(crate) surname: Option<PersonName>,
    pub(crate) email: Email,
    pub(crate) phone_number: Option<PhoneNumber>,
    /// Whether the user may sign in.
    pub(crate) is_active: bool,
    pub(crate) roles: BTreeSet<Role>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) profile: Profile,
    /// Increases by one with every change.
    pub(crate) version: i64,
}

impl User {
    /// Creates a user with a new id.
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            id: UserId(Uuid::now_v7()),
            profile,
            version: 1,
        }
    }

    /// Replaces the profile, and returns whether it differs from the current one.
    ///
    /// An identical profile does not increase the version, and must not be published.
    #[must_use]
    pub(crate) fn change(&mut self, profile: Profile) -> bool {
        if self.profile == profile {
            return false;
        }
        self.profile = profile;
        self.version += 1;
        true
    }

    /// Returns the last state of the user, to be published as deleted. A deletion increases the
    /// version, so that it is newer than every earlier change.
    #[must_use]
    pub(crate) fn deleted(mut self) -> Self {
        self.version += 1;
        self
    }

    /// Given and family name, or the user name if the user has neither.
    pub(crate) fn display_name(&self) -> String {
        self.to_eto().display_name()
    }

    /// The user as published to other services.
    pub(crate) fn to_eto(&self) -> UserEto {
        let Profile {
            user_name,
            name,
            surname,
            email,
            phone_number,
            is_active,
            roles,
        } = &self.profile;
        UserEto {
            id: self.id.0,
            user_name: user_name.as_str().to_owned(),
            name: name.as_ref().map(|name| name.as_str().to_owned()),
            surname: surname.as_ref().map(|name| name.as_str().to_owned()),
            email: email.as_str().to_owned(),
            phone_number: phone_number
                .as_ref()
                .map(|number| number.as_str().to_owned()),
            is_active: *is_active,
            roles: roles.iter().map(|role| role.name().to_owned()).collect(),
            version: self.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> User {
        User::new(Profile {
            user_name: UserName::parse("ada").unwrap(),
            name: None,
            surname: None,
            email: Email::parse("ada@example.org").unwrap(),
            phone_number: None,
            is_active: true,
            roles: BTreeSet::from([Role::Customer]),
        })
    }

    #[test]
    fn an_identical_profile_keeps_the_version() {
        let mut user = ada();
        assert!(!user.change(user.profile.clone()));
        assert_eq!(user.version, 1);
        let name = PersonName::parse("Ada").ok();
        assert!(user.change(Profile {
            name,
            ..user.profile.clone()
        }));
        assert_eq!(user.version, 2);
    }

    #[test]
    fn a_deletion_increases_the_version() {
        assert_eq!(ada().deleted().version, 2);
    }

    #[test]
    fn a_user_without_a_name_is_displayed_by_the_user_name() {
        let mut user = ada();
        assert_eq!(user.display_name(), "ada");
        user.profile.surname = PersonName::parse("Lovelace").ok();
        assert_eq!(user.display_name(), "Lovelace");
    }
}
