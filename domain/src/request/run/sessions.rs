//! Sticky sessions: which provider the request's session has, and which it keeps.

use beamline_contract::answer::DecisionReason;
use beamline_contract::policy::Order;

use super::state::{Degraded, Next, Run, Session};
use crate::request::RequestKind;
use crate::request::plan::Exclusion;
use crate::session::{Pinned, Recalled, SessionKey};

impl Run {
    /// The session's provider, as far as anybody knows.
    pub fn recalled(&mut self, recalled: Recalled) {
        if let Session::Named { had, shared, .. } = &mut self.session {
            *had = recalled.provider;
            *shared = recalled.shared;
        }
    }

    /// Who has the session now: another replica may have been faster.
    pub fn pinned(&mut self, pinned: &Pinned) {
        if let Session::Named { shared, .. } = &mut self.session {
            *shared = pinned.shared;
        }
        if !pinned.shared {
            self.note_local_session();
        }
        let Some(decision) = self.decision.clone() else {
            return;
        };
        let Some(other) = self.candidate(&pinned.provider) else {
            return;
        };
        if other == decision.candidate {
            return;
        }
        let runs = self.kind == RequestKind::Decide || self.runs_here(other);
        let is_free = matches!(decision.exclusions.get(other), Some(None));
        if runs && is_free {
            if let Session::Named { had, .. } = &mut self.session {
                *had = Some(pinned.provider.clone());
            }
            self.progress.tried = vec![other];
            let exclusions = decision.exclusions.clone();
            self.decide(other, DecisionReason::Sticky, None, exclusions, None);
        }
    }

    pub(super) fn recall(&mut self) -> Option<Next> {
        let sticky = self.plan.policy.sticky.as_ref()?;
        let ttl = sticky.ttl;
        let Some(session) = self.facts().plain(&sticky.session_key) else {
            self.session = Session::Unnamed;
            return None;
        };
        let key = SessionKey::new(&self.request.tenant_id, &self.plan.policy_id, &session);
        self.session = Session::Named {
            key: key.clone(),
            had: None,
            shared: true,
        };
        Some(Next::Recall { key, ttl })
    }

    /// A provider that takes traffic is kept for the session; one that only stands in is not.
    pub(super) fn pin(&self) -> Option<Next> {
        let Session::Named { key, had, .. } = &self.session else {
            return None;
        };
        let decision = self.decision.as_ref()?;
        let sticky = self.plan.policy.sticky.as_ref()?;
        let name = &self.plan.providers.get(decision.candidate)?.name;
        if !self.takes_traffic(decision.candidate) || had.as_ref() == Some(name) {
            return None;
        }
        if let Some(index) = had.as_deref().and_then(|had| self.candidate(had)) {
            // A request in a hurry says nothing about the provider: the next one may have time for
            // it.
            if matches!(
                decision.exclusions.get(index),
                Some(Some(Exclusion::TooSlow(_)))
            ) {
                return None;
            }
        }
        Some(Next::Pin {
            key: key.clone(),
            provider: name.clone(),
            ttl: sticky.ttl,
            instead_of: had.clone(),
        })
    }

    /// The provider that the session has, while it can be called and takes traffic.
    pub(super) fn session_provider(&self, exclusions: &[Option<Exclusion>]) -> Option<usize> {
        let Session::Named { had: Some(had), .. } = &self.session else {
            return None;
        };
        let index = self.candidate(had)?;
        let is_free = matches!(exclusions.get(index), Some(None));
        (is_free && self.takes_traffic(index)).then_some(index)
    }

    pub(super) fn note_local_session(&mut self) {
        let degraded = Degraded {
            id: "sticky".into(),
            reason: "known_to_this_replica_only".into(),
            is_said: false,
        };
        if !self.degraded.contains(&degraded) {
            self.degraded.push(degraded);
        }
    }

    /// Whether a request may be sent to a provider without a rule that says so.
    fn takes_traffic(&self, index: usize) -> bool {
        let Some(candidate) = self.plan.providers.get(index) else {
            return false;
        };
        match self.plan.policy.order {
            Order::Weighted => candidate.listed && candidate.weight > 0.0,
            Order::Priority => candidate.listed,
        }
    }

    pub(super) fn candidate(&self, name: &str) -> Option<usize> {
        let candidates = &self.plan.providers;
        candidates.iter().position(|known| known.name == name)
    }
}
