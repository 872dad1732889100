//! What has gone over a transport, and what is still under way.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::envelope::Envelope;
use crate::transport::{Binding, Group};

#[derive(Debug, Default)]
pub(super) struct Record {
    published: Vec<Arc<Envelope>>,
    known: HashSet<Uuid>,
    groups: HashMap<String, BTreeSet<Binding>>,
    /// How many copies of a message a group has not acknowledged yet.
    under_way: HashMap<(String, Uuid), usize>,
    activity: u64,
}

impl Record {
    pub(super) fn bind(&mut self, group: &Group) {
        let bindings = self.groups.entry(group.name.clone()).or_default();
        bindings.extend(group.bindings.iter().cloned());
    }

    pub(super) fn unbind(&mut self, group: &Group) {
        if let Some(bindings) = self.groups.get_mut(&group.name) {
            bindings.retain(|binding| !group.bindings.contains(binding));
        }
    }

    pub(super) fn remove(&mut self, group: &Group) {
        self.groups.remove(&group.name);
        self.under_way.retain(|(name, _), _| *name != group.name);
    }

    /// A message goes on its way to every group that is bound for it.
    pub(super) fn sent(&mut self, envelope: &Envelope) {
        self.activity += 1;
        for (group, bindings) in &self.groups {
            if bindings.iter().any(|binding| binding.matches(envelope)) {
                let copies = self.under_way.entry((group.clone(), envelope.id));
                *copies.or_default() += 1;
            }
        }
    }

    /// It did not arrive.
    pub(super) fn returned(&mut self, envelope: &Envelope) {
        self.activity += 1;
        let groups: Vec<_> = self.groups.keys().cloned().collect();
        for group in groups {
            self.forget(&group, envelope.id);
        }
    }

    /// It arrived. However often that is, it counts as published once.
    pub(super) fn arrived(&mut self, envelope: &Arc<Envelope>) {
        if self.known.insert(envelope.id) {
            self.published.push(envelope.clone());
        }
    }

    /// A group has acknowledged a copy.
    pub(super) fn settled(&mut self, group: &str, id: Uuid) {
        self.activity += 1;
        self.forget(group, id);
    }

    pub(super) fn published(&self) -> impl Iterator<Item = &Envelope> {
        self.published.iter().map(AsRef::as_ref)
    }

    /// Rises with everything that happens.
    pub(super) fn activity(&self) -> u64 {
        self.activity
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.is_empty()
    }

    fn forget(&mut self, group: &str, id: Uuid) {
        let key = (group.to_owned(), id);
        if let Some(copies) = self.under_way.get_mut(&key) {
            *copies -= 1;
            if *copies == 0 {
                self.under_way.remove(&key);
            }
        }
    }
}
