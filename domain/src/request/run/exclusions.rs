//! Why a provider of the plan cannot be called at this moment.

use std::time::Duration;

use super::state::Run;
use crate::request::RequestKind;
use crate::request::plan::{Candidate, Exclusion, PlannedCall};
use crate::target::selection::ChoiceContext;

impl Run {
    /// Why each of the plan's providers cannot be called now, if it cannot.
    pub fn exclusions(&self, choice: &ChoiceContext<'_>) -> Vec<Option<Exclusion>> {
        self.plan
            .providers
            .iter()
            .map(|candidate| self.exclusion(candidate, choice))
            .collect()
    }

    fn exclusion(&self, candidate: &Candidate, choice: &ChoiceContext<'_>) -> Option<Exclusion> {
        let call = match &candidate.choice {
            Ok(call) => call,
            Err(exclusion) => return Some(*exclusion),
        };
        if let Some(exclusion) = kept_back_everywhere(call, choice) {
            return Some(exclusion);
        }
        // Who only asks for a decision calls the provider itself, with time of its own.
        if self.kind == RequestKind::Decide {
            return None;
        }
        let state = (choice.endpoint_state)(call.id(), &call.target.endpoint(0)?.subject);
        let usual = state.latency.filter(|_| state.fresh)?;
        (usual > choice.left).then_some(Exclusion::TooSlow(usual))
    }

    /// The other candidates that are faces of the same program.
    pub(super) fn other_faces(&self, index: usize) -> Vec<usize> {
        let providers = &self.plan.providers;
        let Some(own) = providers.get(index).and_then(Candidate::program_id) else {
            return Vec::new();
        };
        let all = providers.iter().enumerate();
        all.filter(|(other, candidate)| *other != index && candidate.program_id() == Some(own))
            .map(|(other, _)| other)
            .collect()
    }

    /// A provider that the caller executes itself cannot take over inside the router.
    pub(super) fn runs_here(&self, index: usize) -> bool {
        let candidate = self.plan.providers.get(index);
        candidate
            .and_then(|candidate| candidate.choice.as_ref().ok())
            .is_some_and(|call| !call.extension.is_external())
    }
}

/// Why no endpoint of a provider may be called, and for how long that is so; `None` when one may.
fn kept_back_everywhere(call: &PlannedCall, choice: &ChoiceContext<'_>) -> Option<Exclusion> {
    let mut soonest: Option<Duration> = None;
    let mut has_asked_to_wait = false;
    let mut opened_by = None;
    for place in &call.target.endpoints {
        let state = (choice.endpoint_state)(call.id(), &place.subject);
        let wait = state.asked_to_wait.or(state.held_back)?;
        has_asked_to_wait |= state.asked_to_wait.is_some();
        opened_by = opened_by.or(state.opened_by);
        soonest = Some(soonest.map_or(wait, |known| known.min(wait)));
    }
    let wait = soonest?;
    Some(if has_asked_to_wait {
        Exclusion::AskedToWait(wait)
    } else {
        Exclusion::CircuitOpen(wait, opened_by)
    })
}

/// How long the answers of a provider usually take, at the endpoint that would be called.
pub(super) fn usual_latency(call: &PlannedCall, choice: &ChoiceContext<'_>) -> Option<Duration> {
    (choice.endpoint_state)(call.id(), &call.target.endpoint(0)?.subject).latency
}
