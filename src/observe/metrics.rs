//! What `GET /metrics` is made of. Each metric stands once in the table, which names it, says what
//! it is, and is what `docs/metrics.md` is made of.

mod breakers;
mod counted;
mod process;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub(crate) use breakers::BreakerStates;
pub(crate) use counted::register;
pub(crate) use process::{Process, gauge};
