//! Everything that a router needs on one machine: a NATS server, the reference extensions and the
//! router itself, started in this order and stopped in the opposite one.
//!
//! The command line that uses this is `cli/up.rs`.

pub mod demo;
mod earlier;
mod error;
pub mod extensions;
pub mod log;
mod nats;
mod own_key;
mod process;
pub mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use beamline_contract::admin::Role;
use secrecy::SecretString;
use tokio::time::timeout;

use crate::config::Config;
use process::Supervised;
use state::StateDir;

pub use error::UpError;

/// For the first connection to the server just started.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The programs around the router.
#[derive(Debug)]
pub struct Companions {
    state: StateDir,
    nats: Option<Supervised>,
    extensions: Vec<Supervised>,
}

impl Companions {
    pub fn new(state: StateDir) -> Self {
        Self {
            state,
            nats: None,
            extensions: Vec::new(),
        }
    }

    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// Starts the NATS server, and points the configuration at everything that is our own. Answers
    /// the port of earlier runs when another program has it.
    pub async fn start_nats(
        &mut self,
        program: Option<&Path>,
        port: Option<u16>,
        config: &mut Config,
    ) -> Result<Option<u16>, UpError> {
        let program = nats::find(program, &self.state)?;
        let nats::Started { server, url, taken } = nats::start(program, port, &self.state).await?;
        self.nats = Some(server);
        let key = own_key::open(self.state.path()).map_err(|error| {
            UpError(format!(
                "the key of {} cannot be read or made: {error}.",
                self.state.path().display()
            ))
        })?;
        embed(config, &url, &self.state, key);
        Ok(taken)
    }

    /// Starts the reference extensions, and waits until each of them answers.
    pub async fn start_extensions(&mut self, config: &Config) -> Result<(), UpError> {
        for found in extensions::find()? {
            let started = extensions::start(
                found,
                &config.nats.url,
                &config.nats.subject_prefix,
                &self.state,
            )?;
            self.extensions.push(started);
        }
        let nats = connect(&config.nats.url).await?;
        extensions::until_all_answer(&nats, &self.state).await
    }

    /// The extensions first and side by side, because they drain; then NATS, which carries their
    /// last answers.
    pub async fn stop(mut self) {
        self.state.withdraw();
        futures_util::future::join_all(self.extensions.drain(..).map(Supervised::stop)).await;
        if let Some(nats) = self.nats.take() {
            nats.stop().await;
        }
    }
}

/// A free port instead of the default one when another program has that. A port that somebody asked
/// for is taken as it is, or the start fails.
pub fn choose_http(config: &mut Config) -> Option<SocketAddr> {
    let wanted = config.http.listen;
    if is_given(config, "http.listen") || !is_taken(wanted) {
        return None;
    }
    config.http.listen = (Ipv4Addr::LOCALHOST, 0).into();
    Some(wanted)
}

fn is_taken(address: SocketAddr) -> bool {
    match TcpListener::bind(address) {
        Ok(_listener) => false,
        Err(error) => error.kind() == io::ErrorKind::AddrInUse,
    }
}

/// `up` brings its own of these.
const BROUGHT: [&str; 8] = [
    "nats.url",
    "nats.creds_file",
    "nats.user",
    "nats.token",
    "database.url",
    "router.state_dir",
    "admin.api_key",
    "admin.api_key_role",
];

/// The keys that somebody has written and that mean nothing here, because `up` brings its own.
pub fn ignored(config: &Config) -> Vec<&'static str> {
    let mut ignored = BROUGHT.to_vec();
    ignored.retain(|key| is_given(config, key));
    ignored
}

/// The key of whoever stands in a state directory; `None` when there is none of the caller's own.
pub fn key_in(directory: &Path) -> Option<SecretString> {
    own_key::read(directory).ok().flatten()
}

fn embed(config: &mut Config, nats_url: &str, state: &StateDir, key: SecretString) {
    let nats = &mut config.nats;
    nats_url.clone_into(&mut nats.url);
    nats.creds_file = None;
    nats.user = None;
    nats.password = None;
    nats.token = None;
    nats.tls.required = false;
    nats.tls.ca_file = None;
    nats.tls.cert_file = None;
    nats.tls.key_file = None;
    config.database.url = SecretString::from(state.database_url());
    config.router.state_dir = state.path().to_owned();
    config.admin.api_key = Some(key);
    config.admin.api_key_role = Role::Admin;
}

fn is_given(config: &Config, key: &str) -> bool {
    let document = config.to_json();
    document
        .pointer(&format!("/origins/{key}"))
        .is_some_and(|origin| origin != "default")
}

async fn connect(url: &str) -> Result<Client, UpError> {
    let connecting = ConnectOptions::new()
        .name("beamline-router up")
        .connect(url);
    let Ok(connected) = timeout(CONNECT_LIMIT, connecting).await else {
        return Err(unreachable_at(url, "it does not answer"));
    };
    connected.map_err(|error| unreachable_at(url, &error.to_string()))
}

fn unreachable_at(url: &str, reason: &str) -> UpError {
    UpError(format!(
        "the NATS server just started at {url} cannot be reached: {reason}."
    ))
}
