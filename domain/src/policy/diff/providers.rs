//! Providers: who is among them, with which share of the requests, or in which order.

use super::changes::{ChangeKind, Changes};
use super::fields;
use crate::policy::{Policy, Provider};
use beamline_contract::policy::Order;

pub(super) fn diff(old: &Policy, new: &Policy, changes: &mut Changes) {
    let was = Choice::of(old);
    let now = Choice::of(new);
    if old.order != new.order && (old.providers.len() > 1 || new.providers.len() > 1) {
        changes.changed(
            "providers",
            &format!("chosen {} -> {}", was.sentence(), now.sentence()),
        );
    }
    for gone in old.providers.iter().filter(|p| now.find(&p.name).is_none()) {
        changes.removed(&what(&gone.name));
    }
    for provider in &new.providers {
        let what = what(&provider.name);
        let Some(before) = was.find(&provider.name) else {
            changes.added(&what, &now.place(provider));
            continue;
        };
        if old.order == Order::Weighted && new.order == Order::Weighted {
            weight(&what, (&was, before), (&now, provider), changes);
        }
        fields::diff(
            &what,
            &format!("config of {}", provider.name),
            &before.config,
            &provider.config,
            changes,
        );
    }
    if old.order == Order::Priority && new.order == Order::Priority {
        changes.order("providers", &was.names(), &now.names());
    }
}

fn what(name: &str) -> String {
    format!("provider {name}")
}

fn weight(
    what: &str,
    (was, before): (&Choice<'_>, &Provider),
    (now, after): (&Choice<'_>, &Provider),
    changes: &mut Changes,
) {
    let share_before = was.share(before);
    let share_after = now.share(after);
    let shares = if share_before == share_after {
        format!("{share_after} of requests as before")
    } else {
        format!("{share_before} -> {share_after} of requests")
    };
    if before.weight != after.weight {
        changes.changed(
            what,
            &format!("weight {} -> {} ({shares})", before.weight, after.weight),
        );
    } else if share_before != share_after {
        let sentence = format!("{what}: weight {} stays ({shares})", after.weight);
        changes.push(ChangeKind::Changed, what, sentence);
    }
}

/// The providers of one policy and what their weights come to.
struct Choice<'p> {
    policy: &'p Policy,
    sum: f64,
}

impl<'p> Choice<'p> {
    fn of(policy: &'p Policy) -> Self {
        Self {
            policy,
            sum: policy
                .providers
                .iter()
                .map(|provider| provider.weight)
                .sum(),
        }
    }

    fn find(&self, name: &str) -> Option<&'p Provider> {
        self.policy
            .providers
            .iter()
            .find(|provider| provider.name == name)
    }

    fn names(&self) -> Vec<String> {
        self.policy
            .providers
            .iter()
            .map(|provider| provider.name.clone())
            .collect()
    }

    fn share(&self, provider: &Provider) -> String {
        format!(
            "{:.1} %",
            if self.sum > 0.0 {
                provider.weight / self.sum * 100.0
            } else {
                0.0
            }
        )
    }

    /// Where one of them stands among the others.
    fn place(&self, provider: &Provider) -> String {
        match self.policy.order {
            Order::Weighted => format!(
                "weight {}, {} of requests",
                provider.weight,
                self.share(provider)
            ),
            Order::Priority => {
                let position = self
                    .policy
                    .providers
                    .iter()
                    .position(|p| p.name == provider.name)
                    .unwrap_or_default();
                format!("choice {} of {}", position + 1, self.policy.providers.len())
            }
        }
    }

    fn sentence(&self) -> String {
        let share = |provider: &Provider| format!("{} {}", provider.name, self.share(provider));
        match self.policy.order {
            Order::Priority => format!("in priority order ({})", self.names().join(", ")),
            Order::Weighted => {
                let shares: Vec<String> = self.policy.providers.iter().map(share).collect();
                format!("by weight ({})", shares.join(", "))
            }
        }
    }
}
