//! What the breakers of the routers are at a moment, and whether any opened meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::Stage;

/// What a router logs of a breaker that opens.
const OPENED: &str = "the circuit breaker opened";

impl Stage {
    /// None opened since all was calm, also if it has closed again: what happened was nobody's
    /// fault who could be called.
    pub(crate) fn no_breaker_opened(&mut self) {
        let opened: Vec<String> = (0..self.routers.len())
            .flat_map(|router| self.openings(router))
            .collect();
        self.check("breaker", opened.is_empty(), || {
            format!(
                "{} times a breaker opened: {:?}",
                opened.len(),
                &opened[..opened.len().min(3)]
            )
        });
        let Some(broken) = self.phases.broken else {
            return;
        };
        let refused = self.load.since(broken, |sent| {
            let errors = sent
                .iter()
                .flat_map(|sent| &sent.answers)
                .filter_map(|answer| answer.body.as_ref());
            errors
                .filter(|body| body["error"].to_string().contains("circuit"))
                .count()
        });
        self.check("breaker", refused == 0, || {
            format!("{refused} requests met an open breaker")
        });
    }

    /// The lines in which a router has said since the calm that a breaker opened.
    pub(crate) fn openings(&self, router: usize) -> Vec<String> {
        let log = self.routers[router].log();
        let since = log
            .get(self.observed[router].logged_before..)
            .unwrap_or_default();
        since
            .lines()
            .filter(|line| line.contains(OPENED))
            .map(str::to_owned)
            .collect()
    }

    /// Asked more than once when there are several routers: one of them answers.
    pub(crate) async fn open_breakers(&self) -> Vec<String> {
        let mut open = Vec::new();
        for _ in 0..self.routers.len() * 2 - 1 {
            for (id, state) in self.breakers().await {
                // Nobody calls the spare one while all is well, and only calls close a breaker.
                if state != "closed" && id != "spare" && !open.contains(&id) {
                    open.push(id);
                }
            }
        }
        open
    }

    /// The state of the breaker of each extension that was called, as far as anybody answers.
    pub(crate) async fn breakers(&self) -> BTreeMap<String, String> {
        let nobody = || BTreeMap::from([("nobody answers".to_owned(), "unknown".to_owned())]);
        self.tree()
            .await
            .map_or_else(nobody, |answer| breakers_of(&answer["tree"]))
    }

    /// What one of the routers says of itself.
    pub(super) async fn tree(&self) -> Option<Value> {
        let subject = "beamline.router.v1.admin.supervision_tree";
        let asked = self
            .gateway
            .client()
            .request(subject, json!({}).to_string().into());
        let answer = timeout(Duration::from_secs(2), asked).await.ok()?.ok()?;
        serde_json::from_slice(&answer.payload)
            .ok()
            .filter(|answer: &Value| answer["ok"] == true)
    }
}

/// By extension, from a node and everything below it.
pub(super) fn breakers_of(node: &Value) -> BTreeMap<String, String> {
    let id = node["name"]
        .as_str()
        .and_then(|name| name.strip_prefix("invoker:"));
    let own = id
        .zip(node["breaker"]["state"].as_str())
        .map(|(id, state)| (id.to_owned(), state.to_owned()));
    let children = node["children"].as_array().into_iter().flatten();
    own.into_iter()
        .chain(children.flat_map(breakers_of))
        .collect()
}
