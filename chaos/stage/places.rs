//! I5: every router has given back what requests and calls had taken, and its breakers have ended
//! their probes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use beamline_test_support::eventually;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::Stage;
use super::breakers::breakers_of;
use super::invariants::SETTLED_WITHIN;
use crate::traffic::RESERVE;
use crate::watch::Counters;

/// A breaker that nobody called lately has its probes still to come; who was told that its
/// extension lives does not wait.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

impl Stage {
    /// The load is over. A breaker that is closed holds no probe; the gauges and the places
    /// themselves are counted apart from each other, so both are looked at.
    pub(super) async fn judge_places(&mut self) {
        let alive = self.alive();
        let open = self.until_each(alive.len(), CLOSED_WITHIN, open_in).await;
        self.check("I5", open.is_empty(), || {
            format!("breakers with probes still to come: {open:?}")
        });
        let held = self.until_each(alive.len(), SETTLED_WITHIN, held_in).await;
        self.check("I5", held.is_empty(), || {
            format!("places are still taken: {held:?}")
        });
        for number in alive {
            let http = self.routers[number].http();
            let limit = Instant::now() + SETTLED_WITHIN;
            let settled = eventually(
                SETTLED_WITHIN * 4,
                "the router says what it has counted",
                async || {
                    let settled = Counters::of(http).await?.settled();
                    (settled.is_ok() || Instant::now() > limit).then_some(settled)
                },
            )
            .await;
            self.check("I5", settled.is_ok(), || {
                format!("router {number}: {settled:?}")
            });
        }
    }

    fn alive(&mut self) -> Vec<usize> {
        let dead = &self.allowed.dead;
        let routers = self.routers.iter_mut().enumerate();
        routers
            .filter_map(|(number, router)| {
                (!dead.contains(&number) && router.alive()).then_some(number)
            })
            .collect()
    }

    /// Asks until that many routers have shown a tree without what `find` finds. What was found
    /// last, if that takes too long.
    async fn until_each(
        &self,
        routers: usize,
        limit: Duration,
        find: fn(&Value) -> Vec<String>,
    ) -> Vec<String> {
        let limit = Instant::now() + limit;
        let mut clean = BTreeSet::new();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // Whoever of them is free answers.
        while clean.len() < routers {
            if Instant::now() > limit {
                if found.is_empty() {
                    return vec![format!(
                        "only {} of {routers} routers answered",
                        clean.len()
                    )];
                }
                return found
                    .into_iter()
                    .map(|(router, found)| format!("{router}: {}", found.join(", ")))
                    .collect();
            }
            let Some(answer) = self.tree().await else {
                sleep(POLL).await;
                continue;
            };
            let instance = answer["router"]["instance_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let now = find(&answer["tree"]);
            if now.is_empty() {
                found.remove(&instance);
                clean.insert(instance);
            } else {
                found.insert(instance, now);
                self.call_the_spare_one().await;
                sleep(POLL).await;
            }
        }
        Vec::new()
    }

    /// Only calls close a breaker, and nobody calls the spare one while all is well.
    async fn call_the_spare_one(&self) {
        let request = RESERVE.request(0).to_string();
        let asked = self
            .gateway
            .client()
            .request("beamline.router.v1.route", request.into());
        let _refused = timeout(Duration::from_secs(2), asked).await;
    }
}

fn open_in(tree: &Value) -> Vec<String> {
    let open = breakers_of(tree)
        .into_iter()
        .filter(|(_, state)| state != "closed");
    open.map(|(id, state)| format!("{id} is {state}")).collect()
}

/// The nodes that hold places: where requests run, and every extension that was called.
fn held_in(node: &Value) -> Vec<String> {
    let taken = [&node["in_flight"], &node["waiting"]]
        .into_iter()
        .any(|count| count.as_u64().is_some_and(|n| n > 0));
    let own = taken.then(|| {
        let name = &node["name"];
        let in_flight = &node["in_flight"];
        let limit = &node["limit"];
        format!(
            "{name} has {in_flight} of {limit} in flight, {} waiting",
            node["waiting"]
        )
    });
    let children = node["children"].as_array().into_iter().flatten();
    own.into_iter().chain(children.flat_map(held_in)).collect()
}
