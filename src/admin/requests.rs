//! What happened to single requests: asked of all replicas, because whoever answers this may not be
//! the one that served them.

use std::cmp::Reverse;
use std::sync::Arc;

use beamline_contract::admin::{GetRequest, REMEMBERED_REQUESTS, RequestsAnswer};

use beamline_domain::document::shorten;

use super::caller::Caller;
use super::operation::{Perform, WaitsFor};
use super::refusal::Refusal;
use super::surroundings::Surroundings;

/// Stories in one answer.
const MOST: u32 = 100;

impl Perform for GetRequest {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(
        mut self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<RequestsAnswer, Refusal> {
        let limit = self.limit.unwrap_or(1).clamp(1, MOST);
        self.limit = Some(limit);
        if let Some(own) = &caller.tenant_id {
            // Whoever asks for another tenant's finds none.
            if self.tenant_id.as_ref().is_some_and(|asked| asked != own) {
                return Err(nothing(&self));
            }
            self.tenant_id = Some(own.clone());
        }
        let heard = all.replicas.requests(self.clone()).await;
        let mut requests = Vec::new();
        let mut replicas = Vec::new();
        for replica in heard {
            replicas.push(replica.replica_id);
            requests.extend(replica.requests);
        }
        // Times of day of replicas whose clocks agree, and of one replica in any case.
        requests.sort_by_key(|story| Reverse(story.received_at.clone()));
        requests.truncate(limit as usize);
        // Whoever follows them sees that there are none yet.
        if requests.is_empty() && self.after_ms.is_none() {
            return Err(nothing(&self));
        }
        Ok(RequestsAnswer {
            ok: true,
            requests,
            replicas,
        })
    }
}

fn nothing(asked: &GetRequest) -> Refusal {
    let sentence = match &asked.id {
        Some(id) => format!(
            "No replica that answered remembers the request {}.",
            shorten(id)
        ),
        None => "No replica that answered remembers a request that fits.".to_owned(),
    };
    Refusal::not_remembered(sentence, REMEMBERED_REQUESTS)
}
