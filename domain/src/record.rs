//! The registry's record of an extension: what it is, where it listens, and which version takes a request.

pub mod extension;
pub mod routing;
