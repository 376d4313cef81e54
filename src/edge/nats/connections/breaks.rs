//! Whether a connection was lost alone. A server that ends takes all of them along; one that is
//! lost while others stand was ended by what came over it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;

use crate::edge::nats::connection::{Connection, Link};
use crate::edge::nats::events::Report;

/// Connections that a server takes along are lost within so long of each other.
const TOGETHER: Duration = Duration::from_millis(50);
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Watches one connection beside others.
#[derive(Debug)]
pub(crate) struct Watch {
    connection: Connection,
    link: watch::Receiver<Link>,
    seen: u64,
    /// Where it stood last.
    server: String,
    /// How often the others had been lost then.
    others: Vec<u64>,
}

impl Watch {
    pub(crate) fn of(connection: &Connection, others: &[Connection]) -> Self {
        let mut link = connection.link();
        let seen = link.borrow_and_update().losses;
        Self {
            connection: connection.clone(),
            link,
            seen,
            server: connection.server(),
            others: losses(others),
        }
    }

    /// Resolves after the next losses that others on the same server did not share, and answers how
    /// many they were. With each of them on a server of its own, nobody can tell.
    pub(crate) async fn next(&mut self, others: &[Connection]) -> u64 {
        loop {
            let seen = self.seen;
            if self.link.wait_for(|link| link.losses > seen).await.is_err() {
                // The connection is gone, and whoever watches it goes with it.
                std::future::pending::<()>().await;
            }
            let beside = |(other, before): &(&Connection, &u64)| {
                let link = *other.link().borrow();
                link.connected && link.losses == **before && other.server() == self.server
            };
            let steady: Vec<(&Connection, &u64)> =
                others.iter().zip(&self.others).filter(beside).collect();
            sleep(TOGETHER).await;
            let is_alone = steady.iter().any(beside);
            self.seen = self.link.borrow_and_update().losses;
            self.others = losses(others);
            if self.connection.is_connected() {
                self.server = self.connection.server();
            }
            if is_alone {
                return self.seen - seen;
            }
        }
    }
}

fn losses(of: &[Connection]) -> Vec<u64> {
    let links = of
        .iter()
        .map(|connection| connection.link().borrow().losses);
    links.collect()
}

/// Counts what ends one, without end.
pub(super) async fn count(door: &Connection, others: &[Connection]) {
    let mut watch = Watch::of(door, others);
    let mut report = Report::every(SAY_EVERY);
    loop {
        let messages = watch.next(others).await;
        if door.is_closing() {
            continue;
        }
        door.count_unreadable(messages);
        if report.is_due() {
            warn!(
                door = door.purpose(),
                messages,
                "a message that the NATS client cannot read ended this connection and no other: somebody who may \
                 publish to its subjects sends headers that no client library writes"
            );
        }
    }
}
