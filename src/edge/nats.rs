//! How the router meets NATS: one connection, the calls to extensions that go over it, and the
//! bucket of sticky sessions.

pub mod admin;
pub mod connection;
pub mod control;
mod denials;
mod events;
mod headers;
pub mod intake;
mod options;
pub(crate) mod queue;
mod replies;
pub mod sessions;
pub mod transport;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use connection::{ConnectError, Connection, Link, connect};
pub(crate) use events::Report;
pub use options::UnreadableFile;
pub(crate) use options::{addresses, cause_of, options};
pub use sessions::NatsSessions;
pub use transport::NatsTransport;
