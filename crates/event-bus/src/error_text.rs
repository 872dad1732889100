//! What is stored and logged of an error: its text and those of its causes, without what serde and
//! the database quote of the data. Bodies may hold personal data.

use std::error::Error;

use crate::database_fault::DatabaseFault;
use crate::decode::summary;

/// The texts of an error and its causes, outermost first, as the bus stores and logs them: without
/// what `serde_json` and PostgreSQL quote of the data, which may be personal.
///
/// An error that repeats one of its causes in its own text repeats what is shown of that cause.
pub fn reasons(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut replacements = Vec::new();
    let mut cause = Some(error);
    let mut is_shown = true;
    while let Some(error) = cause {
        let text = error.to_string();
        if let Some(shown) = without_values(error) {
            // The causes of such an error quote the same.
            let mut quoting = Some(error);
            while let Some(error) = quoting {
                replacements.push((error.to_string(), shown.clone()));
                quoting = error.source();
            }
            is_shown = false;
            reasons.push(shown);
        } else if is_shown {
            reasons.push(text);
        }
        cause = error.source().filter(|_| is_shown);
    }
    for reason in &mut reasons {
        for (quoting, shown) in &replacements {
            if !quoting.is_empty() && reason.contains(quoting) {
                *reason = reason.replace(quoting, shown);
            }
        }
    }
    reasons
}

/// An error and its causes in one line.
pub(crate) fn line(error: &(dyn Error + 'static)) -> String {
    reasons(error).join(": ")
}

/// What is shown of an error whose text quotes data, if it is one.
fn without_values(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<serde_json::Error>() {
        return Some(summary(error));
    }
    let error = error.downcast_ref::<sqlx::Error>()?;
    let refused = DatabaseFault::of(error) == DatabaseFault::RefusedData;
    let code = error.as_database_error()?.code().filter(|_| refused)?;
    Some(format!("the database refuses the data (SQLSTATE {code})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no price: {0}")]
    struct NoPrice(#[source] serde_json::Error);

    #[test]
    fn what_serde_quotes_is_not_shown_by_itself_or_by_an_error_that_repeats_it() {
        let error = serde_json::from_str::<u32>("\"secret\"").expect_err("no number");
        assert!(error.to_string().contains("secret"));
        let shown = "JSON of another type at line 1 column 8";
        assert_eq!(reasons(&error), [shown]);
        let outer = NoPrice(error);
        assert_eq!(reasons(&outer), [&format!("no price: {shown}"), shown]);
    }

    #[test]
    fn other_errors_are_shown_with_their_causes() {
        let error = std::io::Error::other("until noon");
        assert_eq!(line(&error), "until noon");
    }
}
