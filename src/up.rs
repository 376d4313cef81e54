//! Everything that a router needs on one machine: a NATS server, the reference extensions and the
//! router itself, started in this order and stopped in the opposite one.
//!
//! The command line that uses this is `cli/up.rs`.

pub mod demo;
mod earlier;
mod error;
pub mod extensions;
pub mod log;
pub mod login;
mod nats;
mod process;
mod secrets;
pub mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use async_nats::Client;
use beamline_contract::admin::Role;
use secrecy::SecretString;
use tokio::time::timeout;

use crate::config::{Config, FoundLogin, NatsConfig};
use crate::edge::nats::options;
use login::Login;
use process::Supervised;
use secrets::Secret;
use state::StateDir;

pub use error::UpError;

/// For the first connection to the server just started.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The programs around the router.
#[derive(Debug)]
pub struct Companions {
    state: StateDir,
    login: Option<Login>,
    nats: Option<Supervised>,
    extensions: Vec<Supervised>,
}

impl Companions {
    pub fn new(state: StateDir) -> Self {
        Self {
            state,
            login: None,
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
        let unusable = |what: &str, error: &io::Error| {
            let place = self.state.path().display();
            UpError(format!(
                "{what} of {place} cannot be read or made: {error}."
            ))
        };
        let login = Login::open(self.state.path()).map_err(|e| unusable("the login", &e))?;
        let key = Secret::Key.open(self.state.path());
        let key = key.map_err(|e| unusable("the key", &e))?;
        let started = nats::start(program, port, &login, &self.state).await?;
        let nats::Started { server, url, taken } = started;
        self.nats = Some(server);
        login
            .keep_for_shells(&url, &config.nats.subject_prefix, &self.state)
            .map_err(|e| unusable("the file env", &e))?;
        embed(config, &url, &self.state, &login, key);
        self.login = Some(login);
        Ok(taken)
    }

    /// Starts the reference extensions, and waits until each of them answers.
    pub async fn start_extensions(&mut self, config: &Config) -> Result<(), UpError> {
        let Some(login) = &self.login else {
            return Err(UpError("the NATS server has not been started.".to_owned()));
        };
        for found in extensions::find()? {
            let started = extensions::start(
                found,
                &config.nats.url,
                &config.nats.subject_prefix,
                login,
                &self.state,
            )?;
            self.extensions.push(started);
        }
        let nats = connect(&config.nats).await?;
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

/// The key and the login of whoever stands in a state directory; only what is the caller's own and
/// nobody else can read.
pub fn secrets_in(directory: &Path) -> (Option<SecretString>, Option<FoundLogin>) {
    let read = |secret: Secret| secret.read(directory).ok().flatten();
    let login = read(Secret::Password).map(|password| FoundLogin {
        user: login::USER.to_owned(),
        password,
    });
    (read(Secret::Key), login)
}

fn embed(config: &mut Config, url: &str, state: &StateDir, login: &Login, key: SecretString) {
    url.clone_into(&mut config.nats.url);
    let login = FoundLogin {
        user: login::USER.to_owned(),
        password: login.password.clone(),
    };
    config.nats.log_in_only_as(Some(login));
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

async fn connect(nats: &NatsConfig) -> Result<Client, UpError> {
    let unreachable = |reason: &str| unreachable_at(&nats.url, reason);
    let connecting = async {
        let options = options(nats, "beamline-router up").await;
        let options = options.map_err(|error| unreachable(&error.to_string()))?;
        let connected = options.connect(nats.url.as_str()).await;
        connected.map_err(|error| unreachable(&error.to_string()))
    };
    timeout(CONNECT_LIMIT, connecting)
        .await
        .map_err(|_elapsed| unreachable("it does not answer"))?
}

fn unreachable_at(url: &str, reason: &str) -> UpError {
    UpError(format!(
        "the NATS server just started at {url} cannot be reached: {reason}."
    ))
}
