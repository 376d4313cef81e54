//! Where the admin API, the metrics and the probes are served, and who may use the admin API.

use std::net::SocketAddr;

use secrecy::SecretString;

/// Section `http`.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    pub listen: SocketAddr,
}

/// Section `admin`.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    pub api_key: Option<SecretString>,
}
