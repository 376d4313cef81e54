//! What all calls of one extension share.

use std::fmt;

use async_nats::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::handler::Handler;
use crate::stats::Stats;

/// One extension, as its calls and its discovery see it.
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) client: Client,
    pub(crate) handler: Handler,
    pub(crate) stats: Stats,
    /// Cancelled when the drain limit has passed: handlers end, and their callers get an answer.
    pub(crate) abort: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("id", &self.id)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
