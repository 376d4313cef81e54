//! Chaos: break, observe, restore, observe, on real processes. Each scenario is a short story about
//! one fault of the matrix; the same observer sends load and judges the same invariants in all of
//! them. `README.md` says more.

// The lints know test code by this attribute and not by its target.
#[cfg(test)]
mod bus;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod database;
#[cfg(test)]
mod extensions;
#[cfg(test)]
mod gaps;
#[cfg(test)]
mod hints;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod load;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod outcome;
#[cfg(test)]
mod pace;
#[cfg(test)]
mod pressure;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod puppet;
#[cfg(test)]
mod quick;
#[cfg(test)]
mod random;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod setting;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod watch;
