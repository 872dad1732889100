//! Identity's own variables.

use clap::{ArgAction, Args};
use secrecy::{ExposeSecret, SecretString};
use service_host::{ConfigError, Environment};

use crate::passwords::Password;

/// What the demo users sign in with on a developer's machine. Everybody can read it here.
const DEVELOPMENT_PASSWORD: &str = "waybill-demo";

/// Identity's own variables.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Whether to plant the demo users alice, bob, olivia and admin at the first start
    #[arg(long, env = "SEED_DEMO_DATA", value_name = "SEED_DEMO_DATA",
          action = ArgAction::Set, default_value_t = false)]
    pub seed_demo_data: bool,
    /// What the demo users sign in with; the default is refused in production
    #[arg(long, env = "DEMO_PASSWORD", value_name = "DEMO_PASSWORD", hide_env_values = true,
          default_value = DEVELOPMENT_PASSWORD, value_parser = demo_password)]
    pub demo_password: SecretString,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed_demo_data: false,
            demo_password: SecretString::from(DEVELOPMENT_PASSWORD),
        }
    }
}

impl Settings {
    pub(crate) fn check(&self, environment: Environment) -> Result<(), ConfigError> {
        if self.seed_demo_data && is_refused(environment, &self.demo_password) {
            return Err(ConfigError::default_credential("DEMO_PASSWORD"));
        }
        Ok(())
    }
}

/// Whether nobody may have this password, since everybody can read it here.
pub(crate) fn is_refused(environment: Environment, password: &SecretString) -> bool {
    environment == Environment::Production && password.expose_secret() == DEVELOPMENT_PASSWORD
}

fn demo_password(text: &str) -> Result<SecretString, String> {
    match Password::parse(text.to_owned()) {
        Ok(_) => Ok(SecretString::from(text)),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_refuses_demo_users_with_the_known_password() {
        let mut settings = Settings {
            seed_demo_data: true,
            ..Settings::default()
        };
        assert!(settings.check(Environment::Development).is_ok());
        let error = settings.check(Environment::Production).unwrap_err();
        assert!(error.to_string().starts_with("DEMO_PASSWORD: "), "{error}");
        // Nor can a user sign in with it who was planted before the service went to production.
        assert!(is_refused(Environment::Production, &settings.demo_password));
        settings.demo_password = SecretString::from("another password");
        assert!(settings.check(Environment::Production).is_ok());
    }
}
