//! Attacks, each named after what it tries.

mod tenants;
