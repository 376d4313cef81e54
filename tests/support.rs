//! What a test of the whole router needs: servers and programs of its own, all of which go with it, also after a panic.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use tokio::time::{sleep, timeout};

mod caller;
mod demo;
mod extension;
mod gateway;
mod nats;
mod postgres;
mod postgres_server;
mod process;
mod proxy;
mod router;
mod routing;
mod stub;

pub(crate) use caller::{Caller, load_id};
pub(crate) use demo::{Demo, assert_served};
pub(crate) use extension::{ExtensionProcess, serve};
pub(crate) use gateway::{Gateway, request, request_with};
pub(crate) use nats::Nats;
pub(crate) use postgres::PostgresDatabase;
pub(crate) use postgres_server::PostgresServer;
pub(crate) use process::Process;
pub(crate) use proxy::{TcpProxy, Weather};
pub(crate) use router::{PROGRAM, RouterProcess, get as http_get};
pub(crate) use routing::{BROKEN, Routing, lines, report, steps};
pub(crate) use stub::Stub;

/// Far beyond what anything here takes, also on a busy machine; reaching it means that something never happens.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// Tries until there is something, up to the limit. The only way in which a test waits.
pub(crate) async fn eventually<T>(
    limit: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> T {
    let tries = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            sleep(POLL).await;
        }
    };
    timeout(limit, tries)
        .await
        .unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

/// A port that is free now, for programs that cannot be asked which one they got. It lies below the range from which the
/// system takes the ports of connections, so that it stays free while a program is restarted.
pub(crate) fn free_port() -> u16 {
    let candidates = std::iter::repeat_with(|| fastrand::u16(10_000..30_000)).take(1_000);
    let mut free =
        candidates.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().expect("a free port")
}
