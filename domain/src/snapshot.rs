//! All that the router knows of extensions and policies at one revision of the store. It is never
//! changed, only replaced.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fleet::FleetKeys;
use crate::keys::StoredKey;
use crate::policy::Policy;
use crate::record::{Route, faces};
use beamline_contract::fields::Fields;
use beamline_contract::record::ExtensionRecord;

/// What a store holds at one revision, in the form that is read from it and kept on disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Content {
    pub revision: u64,
    pub extensions: Vec<ExtensionRecord>,
    pub policies: Vec<StoredPolicy>,
    /// A copy on disk that an earlier version wrote has none.
    #[serde(default)]
    pub keys: Vec<StoredKey>,
    /// Of the last change of each object, by [`Content::object`].
    #[serde(default)]
    pub revisions: BTreeMap<String, u64>,
    /// Those of the replicas. They change without a revision: they are no part of the registry.
    #[serde(default)]
    pub fleet_keys: FleetKeys,
}

impl Content {
    /// The name of an object among all: its kind and its id.
    pub fn object(kind: &str, id: &str) -> String {
        format!("{kind} {id}")
    }
}

/// A policy document as it was saved, byte for byte.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredPolicy {
    pub tenant_id: String,
    pub policy_id: String,
    pub document: Box<RawValue>,
}

/// The same, ready for lookups.
#[derive(Debug, Default)]
pub struct Snapshot {
    revision: u64,
    extensions: HashMap<String, KnownExtension>,
    /// All of them by id.
    in_order: Vec<Arc<ExtensionRecord>>,
    /// By tenant, then by policy id.
    policies: HashMap<String, HashMap<String, Arc<KnownPolicy>>>,
    /// Stored policies that cannot be read, with the reason: an older router may meet a newer
    /// document.
    unreadable: Vec<(String, String)>,
    keys: BTreeMap<String, StoredKey>,
    revisions: BTreeMap<String, u64>,
    fleet_keys: FleetKeys,
}

/// A registered extension, with what every call of it needs ready made.
#[derive(Debug)]
pub struct KnownExtension {
    pub record: Arc<ExtensionRecord>,
    /// Its own version and config, for when no routing rule fits.
    pub version: Arc<str>,
    pub config: Arc<Fields>,
    /// Its other versions, in the order in which their rules are tried.
    pub routes: Vec<Arc<Route>>,
}

impl KnownExtension {
    fn new(record: ExtensionRecord) -> Self {
        Self {
            version: record.version.as_str().into(),
            config: Arc::new(record.config.clone()),
            routes: Route::all_of(&record),
            record: Arc::new(record),
        }
    }
}

/// A stored policy and what it means.
#[derive(Debug)]
pub struct KnownPolicy {
    pub stored: StoredPolicy,
    pub policy: Arc<Policy>,
}

impl Snapshot {
    /// Takes what the store holds. One unreadable policy does not take the others down.
    pub fn new(content: Content) -> Self {
        let known = |e: ExtensionRecord| (e.id.clone(), KnownExtension::new(e));
        let extensions: HashMap<String, KnownExtension> = faces::put_together(content.extensions)
            .into_iter()
            .map(known)
            .collect();
        let mut in_order: Vec<_> = extensions
            .values()
            .map(|known| Arc::clone(&known.record))
            .collect();
        in_order.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let mut snapshot = Self {
            revision: content.revision,
            extensions,
            in_order,
            keys: content
                .keys
                .into_iter()
                .map(|key| (key.id.clone(), key))
                .collect(),
            revisions: content.revisions,
            fleet_keys: content.fleet_keys,
            ..Self::default()
        };
        for stored in content.policies {
            match Policy::parse_stored(stored.document.get()) {
                Ok(policy) => {
                    let tenant = snapshot
                        .policies
                        .entry(stored.tenant_id.clone())
                        .or_default();
                    tenant.insert(
                        stored.policy_id.clone(),
                        Arc::new(KnownPolicy {
                            stored,
                            policy: Arc::new(policy),
                        }),
                    );
                }
                Err(mistakes) => {
                    let reason = mistakes
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; ");
                    snapshot
                        .unreadable
                        .push((format!("{}/{}", stored.tenant_id, stored.policy_id), reason));
                }
            }
        }
        snapshot
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn extension(&self, id: &str) -> Option<&Arc<ExtensionRecord>> {
        self.extensions.get(id).map(|known| &known.record)
    }

    pub fn known(&self, id: &str) -> Option<&KnownExtension> {
        self.extensions.get(id)
    }

    pub fn policy(&self, tenant_id: &str, policy_id: &str) -> Option<&Arc<KnownPolicy>> {
        self.policies.get(tenant_id)?.get(policy_id)
    }

    pub fn extension_count(&self) -> usize {
        self.extensions.len()
    }

    /// All extensions, by id.
    pub fn extensions(&self) -> &[Arc<ExtensionRecord>] {
        &self.in_order
    }

    /// All policies, by tenant and id.
    pub fn policies(&self) -> Vec<&Arc<KnownPolicy>> {
        let mut all: Vec<_> = self.policies.values().flat_map(HashMap::values).collect();
        all.sort_by(|a, b| {
            (&a.stored.tenant_id, &a.stored.policy_id)
                .cmp(&(&b.stored.tenant_id, &b.stored.policy_id))
        });
        all
    }

    /// All policies of one tenant, in no order.
    pub fn policies_of(&self, tenant_id: &str) -> impl Iterator<Item = &Arc<KnownPolicy>> {
        let own = self.policies.get(tenant_id);
        own.into_iter().flat_map(HashMap::values)
    }

    /// Name and reason of each stored policy that could not be read.
    pub fn unreadable(&self) -> &[(String, String)] {
        &self.unreadable
    }

    /// Why a stored policy could not be read, if that is so.
    pub fn unreadable_reason(&self, tenant_id: &str, policy_id: &str) -> Option<&str> {
        let name = format!("{tenant_id}/{policy_id}");
        self.unreadable
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, reason)| reason.as_str())
    }

    /// Of an object's last change, where that is known.
    pub fn revision_of(&self, kind: &str, id: &str) -> Option<u64> {
        let revision = self.revisions.get(&Content::object(kind, id)).copied();
        revision.filter(|revision| *revision > 0)
    }

    pub fn key(&self, id: &str) -> Option<&StoredKey> {
        self.keys.get(id)
    }

    /// All keys, by id.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &StoredKey> {
        self.keys.values()
    }

    pub fn fleet_keys(&self) -> &FleetKeys {
        &self.fleet_keys
    }

    /// The other faces of an extension's program.
    pub fn faces_of(&self, extension_id: &str) -> Vec<&Arc<ExtensionRecord>> {
        let is_face = |other: &&Arc<ExtensionRecord>| {
            other.subject_of.as_deref() == Some(extension_id) && other.id != extension_id
        };
        self.in_order.iter().filter(is_face).collect()
    }

    /// The policies that name an extension, as `tenant/policy`.
    pub fn used_by(&self, extension_id: &str) -> Vec<String> {
        let uses = |known: &&Arc<KnownPolicy>| {
            known
                .policy
                .references()
                .any(|(id, _, _)| id == extension_id)
        };
        let name = |known: &Arc<KnownPolicy>| {
            format!("{}/{}", known.stored.tenant_id, known.stored.policy_id)
        };
        self.policies().into_iter().filter(uses).map(name).collect()
    }
}
