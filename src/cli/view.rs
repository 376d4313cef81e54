//! What people see: tables and pictures, each a pure function of what a router answered.

pub(super) mod attempts;
pub(super) mod audit;
pub(super) mod breakers;
pub(super) mod canary;
pub(super) mod complexity;
pub(super) mod explain;
pub(super) mod extensions;
pub(super) mod health;
pub(super) mod json;
pub(super) mod keys;
pub(super) mod look;
pub(super) mod policies;
pub(super) mod record;
pub(super) mod refused;
pub(super) mod request;
pub(super) mod story;
pub(super) mod table;
pub(super) mod text;
pub(super) mod top;
pub(super) mod tree;
