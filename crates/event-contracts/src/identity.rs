//! The messages that identity publishes.

use event_bus::EntityEto;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The data of a user that other services may see. It contains personal data but no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserEto {
    /// Identifies the user. It is also the subject of the user's tokens.
    pub id: Uuid,
    /// The name that the user signs in with.
    pub user_name: String,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surname: Option<String>,
    /// E-mail address.
    pub email: String,
    /// Telephone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    /// Whether the user may sign in.
    pub is_active: bool,
    /// Names of roles: `customer`, `operator`, `admin`.
    pub roles: Vec<String>,
    /// Increases with every change.
    pub version: i64,
}

impl UserEto {
    /// Given and family name, or the user name if the user has neither.
    pub fn display_name(&self) -> String {
        let parts: Vec<&str> = [&self.name, &self.surname]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if parts.is_empty() {
            self.user_name.clone()
        } else {
            parts.join(" ")
        }
    }
}

impl EntityEto for UserEto {
    const CREATED: &'static str = "identity.user.created";
    const UPDATED: &'static str = "identity.user.updated";
    const DELETED: &'static str = "identity.user.deleted";
    const SNAPSHOT: &'static str = "identity.user.snapshot";

    event_bus::json_schema!();

    fn entity_id(&self) -> Uuid {
        self.id
    }

    fn entity_version(&self) -> i64 {
        self.version
    }
}
