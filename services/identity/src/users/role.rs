//! Roles and their permissions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use service_host::Permission;
use utoipa::ToSchema;

/// The permission to read and change users.
#[derive(Debug)]
pub(crate) struct ManageUsers;

impl Permission for ManageUsers {
    const NAME: &'static str = "identity.users.manage";
}

const MANAGE_PRODUCTS: &str = "catalog.products.manage";
const READ_ORDERS: &str = "ordering.orders.read";
const MANAGE_ORDERS: &str = "ordering.orders.manage";

/// The role of a user in the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Places orders, and sees only their own.
    Customer,
    /// Manages products and orders.
    Operator,
    /// Manages everything, including users.
    Admin,
}

impl Role {
    /// The name in tokens and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The permissions of the role. Customers need none to access their own data.
    fn permissions(self) -> &'static [&'static str] {
        match self {
            Self::Customer => &[],
            Self::Operator => &[MANAGE_PRODUCTS, READ_ORDERS, MANAGE_ORDERS],
            Self::Admin => &[
                MANAGE_PRODUCTS,
                READ_ORDERS,
                MANAGE_ORDERS,
                ManageUsers::NAME,
            ],
        }
    }

    /// The permissions of several roles together.
    pub(crate) fn permissions_of(roles: &BTreeSet<Self>) -> BTreeSet<&'static str> {
        roles
            .iter()
            .flat_map(|role| role.permissions().iter().copied())
            .collect()
    }

    /// Finds a role by its name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Customer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_manage_the_shop_and_admins_also_manage_users() {
        let of = |role| Role::permissions_of(&BTreeSet::from([role]));
        assert!(of(Role::Customer).is_empty());
        assert!(of(Role::Operator).contains("catalog.products.manage"));
        assert!(!of(Role::Operator).contains("identity.users.manage"));
        assert!(of(Role::Admin).is_superset(&of(Role::Operator)));
        assert!(of(Role::Admin).contains("identity.users.manage"));
    }

    #[test]
    fn every_role_is_found_by_its_name() {
        for role in [Role::Customer, Role::Operator, Role::Admin] {
            assert_eq!(Role::named(role.name()), Some(role));
        }
        assert_eq!(Role::named("Admin"), None);
    }
}
