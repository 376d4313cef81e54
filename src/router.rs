//! A whole router: everything connected, started in order, and stopped without losing an answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use beamline_actors::tree::Root;

use crate::config::Config;

mod exposition;
mod first_snapshot;
mod fleet_keys;
mod listening;
mod parts;
mod probes;
mod settings;
mod start;
mod start_error;
mod state_lock;
mod stop;
#[cfg(test)]
mod tests;

use parts::{Built, Parts};
use start::confirm_subscriptions;
use stop::{ADMINISTRATION_LIMIT, ANSWERS_LIMIT, stop_tree};

pub use start::Prepared;
pub use start_error::StartError;
pub use stop::StopReport;

/// A running router.
#[derive(Debug)]
pub struct Router {
    root: Root,
    parts: Parts,
    http_address: SocketAddr,
    drain_timeout: Duration,
    gave_up: bool,
}

impl Router {
    /// Everything in one go, for who need not be interrupted.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Prepared::new(config).await?.start().await
    }

    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Resolves when the supervision tree gave up; the process should then end with code 70.
    pub async fn ended(&mut self) {
        self.root.ended().await;
        self.gave_up = true;
    }

    /// Drains and stops: no new requests, the answers of those in flight, the actors in reverse
    /// order, the connections. After the tree gave up, what is in flight is told so instead.
    pub async fn stop(self) -> StopReport {
        let begun = Instant::now();
        let patience = self.patience();
        self.announce();
        let left = self.leave_queue_group().await;
        let cut = self
            .finish_requests(patience.saturating_sub(begun.elapsed()))
            .await;
        // Not sooner: an operator may want to see what the requests in flight wait for.
        let administration = self
            .parts
            .admin
            .drain(ADMINISTRATION_LIMIT.min(patience))
            .await;
        self.finish_http().await;
        let sent = self.parts.intake.answers_sent(ANSWERS_LIMIT).await;
        let Self { root, parts, .. } = self;
        stop_tree(root).await;
        // What the end of the tree answered.
        let sent = sent && parts.intake.answers_sent(ANSWERS_LIMIT).await;
        let flushed = parts.close().await && sent && left && administration.left;
        let report = parts.report(cut + administration.cut, flushed, begun.elapsed());
        report.log();
        report
    }
}

impl Prepared {
    /// The tree with its subscriptions; returns when requests reach this router. Takes seconds at
    /// most and must not be dropped: requests may have come already.
    pub async fn start(self) -> Result<Router, StartError> {
        let drain_timeout = self.config.router.drain_timeout;
        let Built {
            parts,
            root,
            children,
            starting,
            http_address,
        } = Built::new(self);
        let root = Root::start(root, children, parts.metrics.clone())
            .await
            .map_err(|error| StartError::Failed(error.to_string()))?;
        // The tree answers probes from here on.
        drop(starting);
        let router = Router {
            root,
            parts,
            http_address,
            drain_timeout,
            gave_up: false,
        };
        if let Err(error) = confirm_subscriptions(&router.parts.connections).await {
            // Requests may come already, and nobody else could end it.
            router.stop().await;
            return Err(error);
        }
        router.parts.phase.subscribed();
        Ok(router)
    }
}
