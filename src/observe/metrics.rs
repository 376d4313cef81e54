//! What `GET /metrics` shows. Each metric stands once in the table, which names it, says what it
//! is, and is what `docs/metrics.md` is made of.

mod breakers;
pub(crate) mod exposition;
mod process;
mod table;
#[cfg(test)]
mod tests;
