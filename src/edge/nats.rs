//! How the router meets NATS: its connections, the calls to extensions that go over some of them,
//! and the bucket of sticky sessions.

pub mod admin;
pub mod connection;
mod connections;
pub mod control;
mod denials;
mod events;
mod forgeries;
mod headers;
pub mod intake;
mod login;
mod options;
pub(crate) mod queue;
mod replies;
pub(crate) mod reply_subjects;
pub mod sessions;
pub mod transport;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use connection::{ConnectError, Connection, Link};
pub use connections::Connections;
pub(crate) use events::Report;
pub use options::UnreadableFile;
pub(crate) use options::{addresses, cause_of, options};
pub use sessions::NatsSessions;
pub use transport::NatsTransport;
