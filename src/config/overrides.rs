//! What the command line knows about the configuration before it is read.

use std::path::PathBuf;

use secrecy::SecretString;

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The file of `--config`; without it `BEAMLINE_CONFIG` names the file, and without both there
    /// is none.
    pub config_file: Option<PathBuf>,
    /// Keys such as `nats.url` with their values; of a key given twice the last value counts.
    pub set: Vec<(String, String)>,
    /// A router that was found running. Whatever somebody has written wins over it.
    pub discovered: Option<Discovered>,
}

/// Values that nobody has written: where a running router says that it is.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// The file that says so, as the origin of these values.
    pub place: PathBuf,
    /// Keys with their values.
    pub set: Vec<(String, String)>,
    /// What opens its administration. No other key is sent to a router that was only found.
    pub key: Option<SecretString>,
    /// What opens its NATS server. No other login is sent to one that was only found.
    pub login: Option<FoundLogin>,
}

/// How to log in where a router was found.
#[derive(Debug, Clone)]
pub struct FoundLogin {
    pub user: String,
    pub password: SecretString,
}

impl Discovered {
    /// Whether it says so of this server.
    pub(super) fn is_at(&self, url: &str) -> bool {
        let mut addresses = self.set.iter().filter(|(key, _)| key == "nats.url");
        addresses.any(|(_, address)| address == url)
    }
}
