//! `up`: everything a router needs on one machine, started together and stopped together.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::config::Config;

/// What `up` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// The nats-server program; without it, the one on the PATH
    #[arg(long, value_name = "PATH")]
    pub nats_server: Option<PathBuf>,

    /// Where the database, the logs and the ports of this instance are kept
    #[arg(long, value_name = "DIR", default_value = ".beamline")]
    pub state_dir: PathBuf,

    /// Address of the admin API; short for --set http.listen=...
    #[arg(long, value_name = "ADDRESS")]
    pub http_listen: Option<SocketAddr>,

    /// Start the reference extensions and seed the demo policy (the default)
    #[arg(long, overrides_with = "no_demo")]
    demo: bool,

    /// Start with an empty registry
    #[arg(long, overrides_with = "demo")]
    no_demo: bool,
}

impl UpArgs {
    /// Whether the reference extensions and the demo policy are wanted; of the two flags the last one counts.
    #[must_use]
    pub fn demo(&self) -> bool {
        self.demo || !self.no_demo
    }
}

/// Starts everything, and stops all of it on Ctrl-C.
#[expect(clippy::unused_async, reason = "everything it starts is waited for")]
pub async fn run(_config: Config, _args: UpArgs) -> Result<(), Failure> {
    Err(Failure::Failed("up is not built yet.".to_owned()))
}
