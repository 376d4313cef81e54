//! The way to the actor of the moment. Addresses outlive restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::{ActorCell, ActorRef, ActorStatus, Message};

use super::node::Node;

/// Where messages for one place of the tree go, whichever actor fills it.
#[derive(Debug)]
pub struct Address<M> {
    place: ArcSwapOption<Place<M>>,
    node: Arc<Node>,
}

/// The actor of the moment, and what waits in its mailbox.
#[derive(Debug)]
struct Place<M> {
    actor: ActorRef<M>,
    queue: Arc<AtomicI64>,
}

/// Nobody fills the place at the moment: its supervisor is about to restart it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the actor is being restarted")]
pub struct Vacant;

impl<M: Message> Address<M> {
    pub fn new(node: Arc<Node>) -> Self {
        Self {
            place: ArcSwapOption::empty(),
            node,
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub fn send(&self, message: M) -> Result<(), Vacant> {
        let place = self.place.load();
        let Some(place) = place.as_ref() else {
            return Err(Vacant);
        };
        // Counted before it is sent, so that the actor never counts it down first. When that fails,
        // another actor may have taken the place, and has a count of its own.
        place.queue.fetch_add(1, Ordering::Relaxed);
        place.actor.send_message(message).map_err(|_| {
            place.queue.fetch_sub(1, Ordering::Relaxed);
            Vacant
        })
    }

    /// Sends after a while; lost if nobody fills the place by then.
    pub fn send_after(self: &Arc<Self>, wait: Duration, message: M)
    where
        M: Sync,
    {
        let address = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = address.send(message);
        });
    }

    /// An actor takes the place; called when it is made, or from its `pre_start`.
    pub fn filled_by(&self, actor: &ActorRef<M>) {
        let queue = self.node.started(actor.get_cell());
        let actor = actor.clone();
        self.place.store(Some(Arc::new(Place { actor, queue })));
    }

    /// Whether an actor runs here, or is about to.
    pub fn is_filled(&self) -> bool {
        self.cell()
            .is_some_and(|cell| cell.get_status() < ActorStatus::Draining)
    }

    pub fn cell(&self) -> Option<ActorCell> {
        let place = self.place.load();
        place.as_ref().map(|place| place.actor.get_cell())
    }
}
