//! The first client: waited for, or refused with advice.

use std::sync::Arc;
use std::time::Duration;

use async_nats::ConnectErrorKind;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::client::NewClient;
use super::{Connection, Purpose, backoff};
use crate::config::NatsConfig;
use crate::edge::nats::events::{Events, Report};
use crate::edge::nats::options::{UnreadableFile, addresses, cause_of, place};

/// Why there is no connection. Its text is for people and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    File(#[from] UnreadableFile),
    #[error(
        "the NATS server at {server} refuses these credentials. Set nats.creds_file, nats.token, or nats.user and \
         nats.password."
    )]
    Credentials { server: String },
    #[error("cannot log in to NATS: {cause}. Correct the file, or let this user read it.")]
    Login { cause: String },
    #[error("'{server}' is not a NATS address: {cause}. Write it as nats://host:port.")]
    Address { server: String, cause: String },
    #[error(
        "no secure connection to the NATS server at {server}: {cause}. Check the nats.tls settings."
    )]
    Tls { server: String, cause: String },
    #[error(
        "no NATS server answered at {server} within {}: {cause}. Start one, correct nats.url, or wait longer with \
         nats.startup_timeout.", humantime::format_duration(*.waited)
    )]
    Unreachable {
        server: String,
        waited: Duration,
        cause: String,
    },
}

/// Connects within `nats.startup_timeout`, trying again while the server is away.
pub(in crate::edge::nats) async fn connect(
    config: &NatsConfig,
    purpose: Purpose,
) -> Result<Connection, ConnectError> {
    let server = place(&config.url);
    let events = Arc::new(Events::reporting(Arc::clone(&purpose.away_reports)));
    let deadline = Instant::now() + config.startup_timeout;
    let mut report = Report::default();
    let mut last: Option<async_nats::ConnectError> = None;
    for attempt in 1.. {
        let connecting = first_client(config, &purpose.name, &events);
        match timeout_at(deadline, connecting).await {
            Ok(Ok(Ok(new))) => {
                return Ok(Connection::new(new, events, config.clone(), purpose).await);
            }
            Ok(Ok(Err(error))) if is_final(&error) => {
                return Err(explain(server, &error, config.startup_timeout));
            }
            Ok(Ok(Err(error))) => {
                if report.is_due() {
                    warn!(server, error = %cause_of(&error), "no connection to NATS yet, trying again");
                }
                last = Some(error);
            }
            Ok(Err(unreadable)) => return Err(unreadable.into()),
            Err(_elapsed) => break,
        }
        if timeout_at(deadline, sleep(backoff(attempt))).await.is_err() {
            break;
        }
    }
    Err(match last {
        Some(error) => explain(server, &error, config.startup_timeout),
        None => {
            let cause = "it accepts no connection".to_owned();
            ConnectError::Unreachable {
                server,
                waited: config.startup_timeout,
                cause,
            }
        }
    })
}

/// The client stops at a server that refuses the login, whatever others there are. So each is tried
/// alone then, and the client learns of the others when one has taken it.
async fn first_client(
    config: &NatsConfig,
    name: &str,
    events: &Arc<Events>,
) -> Result<Result<NewClient, async_nats::ConnectError>, UnreadableFile> {
    let servers = addresses(&config.url);
    let mut refused = match NewClient::connect(config, name, events).await? {
        Err(error) if is_refused(&error) && servers.len() > 1 => error,
        other => return Ok(other),
    };
    for server in &servers {
        let only = std::slice::from_ref(server);
        match NewClient::connect_to(only, config, name, events).await? {
            Ok(new) => {
                if let Err(error) = new.client.set_server_pool(&servers[..]).await {
                    warn!(error = %cause_of(&error), "the other NATS servers are not known to the client");
                }
                return Ok(Ok(new));
            }
            Err(error) => {
                warn!(server = place(server), error = %cause_of(&error), "a NATS server does not take this router");
                // What may pass counts before what does not.
                if !is_refused(&error) {
                    refused = error;
                }
            }
        }
    }
    Ok(Err(refused))
}

fn is_refused(error: &async_nats::ConnectError) -> bool {
    matches!(
        error.kind(),
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation
    )
}

/// The client shows the errors of a login with the name of their type.
fn without_its_type(cause: &str) -> &str {
    let inside = cause.strip_prefix("AuthError(");
    inside
        .and_then(|cause| cause.strip_suffix(')'))
        .unwrap_or(cause)
}

/// Before the server was asked.
fn has_login_failed(error: &async_nats::ConnectError) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.is::<async_nats::AuthError>())
}

/// True for what waiting does not cure.
fn is_final(error: &async_nats::ConnectError) -> bool {
    match error.kind() {
        ConnectErrorKind::Authentication
        | ConnectErrorKind::AuthorizationViolation
        | ConnectErrorKind::ServerParse
        | ConnectErrorKind::MaxReconnects => true,
        // A server that starts, or a certificate that is being replaced, may do better in a moment.
        ConnectErrorKind::Tls
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io => false,
    }
}

fn explain(server: String, error: &async_nats::ConnectError, waited: Duration) -> ConnectError {
    let cause = cause_of(error).to_string();
    match error.kind() {
        ConnectErrorKind::Authentication if has_login_failed(error) => ConnectError::Login {
            cause: without_its_type(&cause).to_owned(),
        },
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Credentials { server }
        }
        ConnectErrorKind::ServerParse => ConnectError::Address { server, cause },
        ConnectErrorKind::Tls => ConnectError::Tls { server, cause },
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => ConnectError::Unreachable {
            server,
            waited,
            cause,
        },
    }
}
