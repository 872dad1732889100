//! Groups and handlers that can't be on one bus.

use crate::consumer_group::GroupPlan;
use crate::handler_entry::HandlerEntry;
use crate::registry;
use crate::start_error::StartError;

/// Checks that groups conflict neither with each other nor with the handlers that exist, each of
/// which is given with the name of its group.
pub(crate) fn check<'a>(
    plans: &'a [GroupPlan],
    mut others: Vec<(&'a str, &'a HandlerEntry)>,
) -> Result<(), StartError> {
    for plan in plans {
        if others.iter().any(|(group, _)| *group == plan.name) {
            let name = plan.name.clone();
            return Err(StartError::InvalidGroup { name });
        }
        for entry in &plan.handlers {
            // Stored messages are found by the name of their handler.
            let elsewhere = |(group, other): &&(&str, &HandlerEntry)| {
                *group != plan.name && other.name == entry.name
            };
            if others.iter().any(|other| elsewhere(&other)) {
                return Err(StartError::HandlerOfTwoGroups {
                    handler: entry.name,
                });
            }
            registry::check_beside(entry, others.iter().map(|(_, other)| *other))?;
            others.push((&plan.name, entry));
        }
    }
    Ok(())
}
