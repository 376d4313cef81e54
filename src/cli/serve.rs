//! `serve`: a router in production. Everything comes from the configuration, nothing is started on the side.

use super::Failure;
use crate::config::Config;

/// Runs a router until it is told to stop.
#[expect(clippy::unused_async, reason = "a router waits for traffic and for signals")]
pub async fn run(_config: Config) -> Result<(), Failure> {
    Err(Failure::Failed("serve is not built yet.".to_owned()))
}
