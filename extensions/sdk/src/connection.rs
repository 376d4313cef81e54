//! The connection of an extension of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Event, ServerAddr};
use beamline_bus::{Held, Login};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::settings::Settings;
use crate::start_error::StartError;

/// A frozen server is noticed after three unanswered pings.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// Returns before the server can be reached, and keeps trying to reach it. Each loss of the
/// connection is told to `losses`.
pub(crate) async fn connect(
    id: &str,
    settings: &Settings,
    losses: watch::Sender<()>,
) -> Result<Client, StartError> {
    if let Some(path) = &settings.creds_file {
        readable(path).await?;
    }
    if let Some(path) = &settings.password_file {
        readable(path).await?;
    }
    let servers: Vec<&str> = settings.nats_url.split(',').map(str::trim).collect();
    let mut options = login(settings, &servers).options();
    if let Some(prefix) = &settings.inbox_prefix {
        Settings::check_inbox_prefix(prefix)?;
        options = options.custom_inbox_prefix(prefix);
    }
    let options = options
        .name(format!("beamline-extension {id}"))
        .ping_interval(PING_INTERVAL)
        .retry_on_initial_connect()
        .event_callback(move |event| {
            if matches!(event, Event::Disconnected) {
                losses.send_replace(());
            }
            async move { log_event(&event) }
        });
    Ok(options.connect(servers).await?)
}

/// The client does not look at the user of an address by itself.
fn login(settings: &Settings, servers: &[&str]) -> Login {
    let addresses = servers
        .iter()
        .filter_map(|server| server.parse::<ServerAddr>().ok());
    let named = addresses.into_iter().find(ServerAddr::has_user_pass);
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut login = Login {
        creds_file: settings.creds_file.clone(),
        ..Login::default()
    };
    if let Some(address) = named {
        login.user = address.username().map(decoded);
        login.password = address.password().map(decoded).map(Login::held);
    } else {
        login.user = settings.user.clone();
        login.password = settings.password.clone().map(Login::held);
        login.password = login
            .password
            .or(settings.password_file.clone().map(in_file));
    }
    login
}

fn in_file(path: PathBuf) -> Held {
    Arc::new(move || {
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    })
}

/// Said at the start, because the client only says that it could not connect.
async fn readable(path: &Path) -> Result<(), StartError> {
    let read = tokio::fs::read(path).await;
    read.map(drop).map_err(|source| StartError::Credentials {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &Settings) -> (Option<String>, Option<String>) {
        let servers: Vec<&str> = settings.nats_url.split(',').collect();
        let login = login(settings, &servers);
        (login.user, login.password.map(|held| held().unwrap()))
    }

    #[test]
    fn an_address_or_the_settings_say_who_logs_in() {
        let named = Settings {
            user: Some("joe".to_owned()),
            password: Some("secret".to_owned()),
            ..Settings::for_url("nats://a:1,nats://pii_guard:p%40ss@b:2")
        };
        let expected = (Some("pii_guard".to_owned()), Some("p@ss".to_owned()));
        assert_eq!(of(&named), expected);
        let plain = Settings {
            nats_url: "nats://a:1".to_owned(),
            ..named
        };
        let expected = (Some("joe".to_owned()), Some("secret".to_owned()));
        assert_eq!(of(&plain), expected);
        assert_eq!(of(&Settings::for_url("a:1")), (None, None));
    }
}
