//! Who answers probes before there is a router: alive from the first moment, and not ready.

use std::io;
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::front::{self, Front};
use super::listeners::Listeners;
use super::probes::{Probes, starting};

/// Serves until it is dropped; whoever listens next at the same sockets may have begun by then.
#[derive(Debug)]
pub struct Starting {
    _serving: Vec<AbortOnDropHandle<()>>,
}

impl Starting {
    pub fn serve(listeners: &Listeners) -> io::Result<Self> {
        let mut serving = Vec::new();
        for listener in [Some(&listeners.everything), listeners.probes.as_ref()] {
            let Some(listener) = listener else { continue };
            let front = Front::of_probes(listener.try_clone()?, Probes::starting(), starting());
            let front = Arc::new(front);
            serving.push(AbortOnDropHandle::new(tokio::spawn(async move {
                if let Err(error) = front::serve_apart(front).await {
                    tracing::warn!(%error, "probes are answered only once the router is there");
                }
            })));
        }
        Ok(Self { _serving: serving })
    }
}
