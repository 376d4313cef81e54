//! Who may administrate without a key of the store.

use beamline_contract::admin::Role;
use secrecy::SecretString;

#[derive(Debug)]
pub struct Access {
    /// The key of the configuration, and what it may do.
    pub api_key: Option<(SecretString, Role)>,
    /// What whoever has no key may do.
    pub anonymous: Option<Role>,
}
