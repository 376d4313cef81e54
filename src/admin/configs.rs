//! What extensions say of the configs that a document gives them, asked of the programs that listen
//! where the calls go. Who does not answer, or publishes no schema, is not asked.

use std::collections::BTreeSet;
use std::time::Duration;

use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;
use beamline_contract::record::ExtensionRecord;
use beamline_domain::delivery::{self, Delivery};
use beamline_domain::policy::{EntryConfig, Policy};
use beamline_domain::snapshot::Snapshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

mod bounds;
mod judge;
mod schema;
mod sentence;

use judge::{Completed, Judge};

use super::heard::Heard;
use super::refusal::Refusal;
use super::surroundings::{Surroundings, Whom};

pub(super) use judge::Opinion;

/// For the work, which has bounds of its own: a busy machine takes longer than it is worth.
const LIMIT: Duration = Duration::from_secs(5);
/// Stored policies that are looked at when a record changes.
const MOST_POLICIES: usize = 200;
/// Nobody reads more.
const MOST_LINES: usize = 20;
/// Keys of a record by which it is decided who gets which config.
const KEYS: [&str; 8] = [
    "type",
    "subject",
    "subject_of",
    "version",
    "config",
    "metadata",
    "versions",
    "instances",
];

/// The configs that a document gives to extensions.
#[derive(Debug)]
pub(super) struct Given {
    deliveries: Vec<Delivery>,
    completed: Completed,
    /// By stored policies, with their names.
    by_policies: Vec<(String, Vec<Delivery>)>,
}

impl Given {
    pub(super) fn nothing() -> Self {
        Self {
            deliveries: Vec::new(),
            completed: Completed::Later,
            by_policies: Vec::new(),
        }
    }

    pub(super) fn by_policy(policy: &Policy, snapshot: &Snapshot, prefix: &str) -> Self {
        let of_entry = |entry: EntryConfig<'_>| {
            let record = snapshot.extension(entry.extension_id)?;
            Some(delivery::of_entry(
                record,
                prefix,
                entry.config,
                &entry.place,
            ))
        };
        Self {
            deliveries: policy.configs().filter_map(of_entry).flatten().collect(),
            completed: Completed::Here,
            by_policies: Vec::new(),
        }
    }

    /// By a record, and over it by the stored policies that use it. It looks at all of them.
    pub(super) fn by_record(record: &ExtensionRecord, snapshot: &Snapshot, prefix: &str) -> Self {
        let policies = snapshot.policies().into_iter().filter_map(|known| {
            let entries = known.policy.configs();
            let own = entries.filter(|entry| entry.extension_id == record.id);
            let deliveries: Vec<Delivery> = own
                .flat_map(|entry| delivery::of_entry(record, prefix, entry.config, &entry.place))
                .collect();
            let name = format!("{}/{}", known.stored.tenant_id, known.stored.policy_id);
            (!deliveries.is_empty()).then_some((name, deliveries))
        });
        Self {
            by_policies: policies.take(MOST_POLICIES).collect(),
            deliveries: delivery::of_record(record, prefix),
            completed: Completed::Later,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.by_policies.is_empty()
    }

    /// Where those listen whose word counts.
    pub(super) fn subjects(&self) -> BTreeSet<String> {
        let by_policies = self.by_policies.iter().flat_map(|(_, given)| given);
        let all = self.deliveries.iter().chain(by_policies);
        all.map(|delivery| delivery.subject.clone()).collect()
    }

    /// Asks everybody who gets something.
    pub(super) async fn ask(self, all: &Surroundings) -> Opinion {
        if self.is_empty() {
            return Opinion::default();
        }
        let heard = all.listeners.heard_on(self.subjects(), Whom::Everybody);
        match heard.await {
            Some(heard) => self.judged(heard).await,
            None => Opinion::default(),
        }
    }

    /// Holds the configs against what was heard, apart from the threads that requests need.
    pub(super) async fn judged(self, heard: Heard) -> Opinion {
        let work = spawn_blocking(move || self.judge(&heard));
        if let Ok(Ok(opinion)) = timeout(LIMIT, work).await {
            return opinion;
        }
        let message = "the configs were not held against the schemas of the extensions: that took too long, or failed";
        Opinion {
            mistakes: Vec::new(),
            warnings: vec![Mistake {
                pointer: String::new(),
                message: message.to_owned(),
            }],
        }
    }

    fn judge(&self, heard: &Heard) -> Opinion {
        let mut judge = Judge::new(heard);
        let mut opinion = judge.opinion(&self.deliveries, self.completed);
        for (name, given) in &self.by_policies {
            let broken = judge.opinion(given, Completed::Here).mistakes;
            let warnings = broken.into_iter().map(|mistake| Mistake {
                pointer: "/config".to_owned(),
                message: format!(
                    "the policy {name} has {}, which {}",
                    mistake.pointer, mistake.message
                ),
            });
            opinion.warnings.extend(warnings);
        }
        opinion.mistakes.truncate(MOST_LINES);
        opinion.warnings.truncate(MOST_LINES);
        opinion
    }
}

impl Opinion {
    /// The warnings of a document that is taken. What is wrong in parts that a patch leaves as they
    /// were is warned of only.
    pub(super) fn of_sent(
        self,
        what: &str,
        patch: Option<&Fields>,
    ) -> Result<Vec<Mistake>, Refusal> {
        let is_sent = |mistake: &Mistake| {
            let key = mistake.pointer.split('/').nth(1).unwrap_or_default();
            patch.is_none_or(|patch| patch.get(key).is_some())
        };
        let (refused, known): (Vec<_>, Vec<_>) = self.mistakes.into_iter().partition(is_sent);
        if refused.is_empty() {
            return Ok(known.into_iter().chain(self.warnings).collect());
        }
        Err(Refusal::mistakes(what, &refused))
    }
}

/// Whether a patch can change who gets which config.
pub(super) fn concern(patch: &Fields) -> bool {
    KEYS.iter().any(|key| patch.get(key).is_some())
}

#[cfg(test)]
mod tests;
