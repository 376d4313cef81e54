//! The error of a start.

use beamline_contract::discovery::MAX_CONFIG_SCHEMA;

/// Why an extension could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error("{what} \"{name}\" must be 1 to 64 letters, digits, \"_\" or \"-\"")]
    InvalidName { what: &'static str, name: String },
    #[error("the JSON Schema of the configuration has {0} bytes; a router reads at most {max}",
        max = MAX_CONFIG_SCHEMA)]
    ConfigSchemaTooLong(usize),
    #[error("credentials file {path}: {source}")]
    Credentials {
        path: String,
        source: std::io::Error,
    },
    #[error("cannot connect to NATS: {0}")]
    Connect(#[from] async_nats::ConnectError),
    #[error("cannot subscribe: {0}")]
    Subscribe(#[from] async_nats::SubscribeError),
}
