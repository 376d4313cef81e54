//! The router's rules: no clock, no runtime, no lock, no I/O. Time and randomness are arguments.

pub mod backoff;
pub mod conditions;
pub mod document;
pub mod mistakes;
pub mod names;
pub mod position;
pub mod suggest;
pub mod tenant_ids;

pub mod target;

pub mod record;

pub mod policy;

pub mod audit;
pub mod fleet;
pub mod keys;

pub mod snapshot;

pub mod quotas;

pub mod session;

pub mod request;

pub mod delivery;

pub mod admission;
