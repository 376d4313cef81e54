//! Who may administrate without a key of the store.

use beamline_contract::admin::{CONFIGURED, Role};
use beamline_domain::keys::KeyParts;

use crate::keys::{hash, public_key};

#[derive(Debug)]
pub struct Access {
    pub configured: Option<ConfiguredKey>,
    /// What whoever has no key may do.
    pub anonymous: Option<Role>,
}

/// The key of the configuration, as much of it as is needed to know it again.
#[derive(Debug)]
pub struct ConfiguredKey {
    pub(super) role: Role,
    pub(super) hash: String,
    pub(super) public_key: String,
    /// That stands in it, if it was made like the others.
    own_id: Option<String>,
}

impl ConfiguredKey {
    pub fn new(key: &str, role: Role) -> Self {
        Self {
            role,
            hash: hash(key),
            public_key: public_key(key),
            own_id: KeyParts::of(key).map(|parts| parts.id.to_owned()),
        }
    }

    pub(super) fn is_called(&self, id: &str) -> bool {
        id == CONFIGURED || self.own_id.as_deref() == Some(id)
    }
}
