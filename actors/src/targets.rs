//! The targets of an extension: what all callers of one share, and the right to make an attempt at
//! it.

mod peers;
mod permit;
mod target;
mod tenants;
mod withheld;

pub use peers::{Peers, Transition};
pub(crate) use permit::LOCAL_LAG;
pub use permit::{Gate, Held};
pub(crate) use target::OpenBreaker;
pub use target::{CallPermit, CalledBy, TargetState};
pub use tenants::TenantBreaker;
pub use withheld::Withheld;
