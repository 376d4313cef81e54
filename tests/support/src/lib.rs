//! What a test of the whole router needs: servers and programs of its own, all of which go with it,
//! also after a panic. A crate, so that the tests in `tests/`, `chaos/` and the other crates share
//! one build of it. Needs nats-server on the PATH.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends where something that it needs is missing"
)]

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use tokio::time::{sleep, timeout};

mod caller;
pub mod calls;
mod copied;
mod demo;
mod extension;
mod fail_points;
mod gateway;
mod nats;
mod peer;
mod pgbouncer;
mod postgres;
mod postgres_server;
mod process;
mod proxy;
mod router;
mod routing;
mod schemas;
mod stub;
mod up;

pub use caller::{Caller, load_id};
pub use copied::{COPIED_USERS, Part, copied_password, settings_for};
pub use demo::{Demo, assert_served};
pub use extension::{ExtensionProcess, serve, serve_with};
pub use fail_points::FailPoints;
pub use gateway::{Gateway, request, request_with};
pub use nats::{BareClient, Nats};
pub use peer::{Peer, Unsigned, keys_of};
pub use pgbouncer::PgBouncer;
pub use postgres::PostgresDatabase;
pub use postgres_server::PostgresServer;
pub use process::{LogPipe, Process, program, without_foreign};
pub use proxy::{TcpProxy, Weather};
pub use router::{IGNORES_HANGUP, RouterProcess, get as http_get};
pub use routing::{BROKEN, Routing, lines, report, steps};
pub use stub::Stub;
pub use up::Up;

/// Far beyond what anything here takes, also on a busy machine; reaching it means that something
/// never happens.
pub const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// Tries until there is something, up to the limit. The only way in which a test waits.
pub async fn eventually<T>(
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

/// Waits until a condition holds, up to the limit.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(LIMIT, what, async || condition().then_some(())).await;
}

/// What must end, up to the limit.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}

/// A port that is free now, for programs that cannot be asked which one they got. It lies below the
/// range from which the system takes the ports of connections, so that it stays free while a
/// program is restarted.
pub fn free_port() -> u16 {
    let candidates = std::iter::repeat_with(|| fastrand::u16(10_000..30_000)).take(1_000);
    let mut free =
        candidates.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().expect("a free port")
}
