//! The SDK against a real NATS server: what callers see on the wire, what happens to late, broken
//! and excess calls, and how an extension stops. Nothing here waits a fixed time for something to
//! happen.

// The lints know test code by this attribute and not by its target.
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod stopping;
