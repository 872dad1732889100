//! Identity's own settings.

use clap::{ArgAction, Args};
use secrecy::{ExposeSecret, SecretString};
use service_host::{ConfigError, Environment};

use crate::passwords::Password;

/// Password of the demo users in development. It is public, because it is in the source code.
const DEVELOPMENT_PASSWORD: &str = "waybill-demo";

/// Identity's own settings.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Whether to create the demo users alice, bob, olivia and admin at the first start
    #[arg(long, env = "SEED_DEMO_DATA", value_name = "SEED_DEMO_DATA",
          action = ArgAction::Set, default_value_t = false)]
    pub seed_demo_data: bool,
    /// Password of the demo users; the default is rejected in production
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

/// Whether sign-in with this password is refused. In production this holds for the public default.
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
    fn production_rejects_demo_users_with_the_default_password() {
        let mut settings = Settings {
            seed_demo_data: true,
            ..Settings::default()
        };
        assert!(settings.check(Environment::Development).is_ok());
        let error = settings.check(Environment::Production).unwrap_err();
        assert!(error.to_string().starts_with("DEMO_PASSWORD: "), "{error}");
        // A demo user that was created in development can't sign in with it either.
        assert!(is_refused(Environment::Production, &settings.demo_password));
        settings.demo_password = SecretString::from("another password");
        assert!(settings.check(Environment::Production).is_ok());
    }
}
