//! The connection of an extension of its own.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tracing::{info, warn};

use crate::settings::Settings;
use crate::start_error::StartError;

/// A frozen server is noticed after three unanswered pings.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// Returns before the server can be reached, and keeps trying to reach it.
pub(crate) async fn connect(id: &str, settings: &Settings) -> Result<Client, StartError> {
    let options = credentials(settings)
        .await?
        .name(format!("beamline-extension {id}"))
        .ping_interval(PING_INTERVAL)
        .retry_on_initial_connect()
        .event_callback(|event| async move { log_event(&event) });
    let servers: Vec<&str> = settings.nats_url.split(',').map(str::trim).collect();
    Ok(options.connect(servers).await?)
}

async fn credentials(settings: &Settings) -> Result<ConnectOptions, StartError> {
    let Some(path) = &settings.creds_file else {
        return Ok(ConnectOptions::new());
    };
    ConnectOptions::with_credentials_file(path)
        .await
        .map_err(|source| StartError::Credentials {
            path: path.display().to_string(),
            source,
        })
}

fn log_event(event: &Event) {
    match event {
        Event::Connected | Event::Draining | Event::Closed => info!(%event, "nats"),
        Event::Disconnected
        | Event::LameDuckMode
        | Event::SlowConsumer(_)
        | Event::ServerError(_)
        | Event::ClientError(_) => warn!(%event, "nats"),
    }
}
