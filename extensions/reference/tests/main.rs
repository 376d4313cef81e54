//! The four programs as processes on a real NATS server: what they answer, what they log, and how
//! they end.

// The lints know test code by this attribute and not by its target.
#[cfg(test)]
mod answers;
#[cfg(test)]
mod ending;

#[cfg(test)]
mod program;
