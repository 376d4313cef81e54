//! The root of the tree: the handle of who starts and stops a router.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::child::{Child, nodes};
use super::node::Node;
use super::supervisor::{Supervised, Supervisor, SupervisorMsg};
use crate::metrics::Metrics;
use beamline_contract::admin::TreeNode;

/// A running tree.
#[derive(Debug)]
pub struct Root {
    actor: ActorRef<SupervisorMsg>,
    ended: JoinHandle<()>,
    node: Arc<Node>,
}

/// A child could not start, and this is why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TreeNotStarted(String);

impl Root {
    /// Starts the children one after the other below a [`Node::root`]; each must have started
    /// before the next one is.
    pub async fn start(
        node: Arc<Node>,
        children: Vec<Child>,
        metrics: Metrics,
    ) -> Result<Self, TreeNotStarted> {
        node.grow(nodes(&children));
        let (ready, started) = oneshot::channel();
        let supervised = Supervised {
            node: Arc::clone(&node),
            children,
            metrics,
            ready: Some(ready),
        };
        let (actor, ended) = Actor::spawn(None, Supervisor, supervised)
            .await
            .map_err(|error| TreeNotStarted(error.to_string()))?;
        match started.await {
            Ok(Ok(())) => Ok(Self { actor, ended, node }),
            Ok(Err(reason)) => Err(TreeNotStarted(reason)),
            // It gave up before all had started.
            Err(_) => Err(TreeNotStarted(node.view().last_exit.unwrap_or_default())),
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub fn tree(&self) -> TreeNode {
        self.node.view()
    }

    /// Resolves when the tree has ended; true when it gave up rather than was stopped.
    pub async fn ended(&mut self) -> bool {
        let _ = (&mut self.ended).await;
        self.node.view().last_exit.is_some()
    }

    /// Stops the children in the reverse order of their start; false if that took longer than
    /// `limit`.
    pub async fn stop(mut self, limit: Duration) -> bool {
        if self.actor.send_message(SupervisorMsg::Stop).is_err() {
            return true;
        }
        let in_time = timeout(limit, &mut self.ended).await.is_ok();
        if !in_time {
            self.actor.kill();
        }
        in_time
    }
}
