//! The shape of the code: what may import what, and the line that a request takes. It needs no
//! build of the router.

// The lints know test code by this attribute and not by its target.
#[cfg(test)]
mod arrow_line;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod circles;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod links;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod style;
#[cfg(test)]
mod tasks;
