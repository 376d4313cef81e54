//! Policies: whose there are, and what each of them does.

use beamline_contract::admin::{PoliciesAnswer, UnreadablePolicy};
use beamline_contract::policy::{Form, Order};
use beamline_domain::policy::Policy;

use super::{table, text};

const HEADER: [&str; 7] = [
    "TENANT",
    "POLICY",
    "VERSION",
    "PRE",
    "VALIDATORS",
    "PROVIDERS",
    "POST",
];
const NUMBERS: [&str; 4] = ["PRE", "VALIDATORS", "PROVIDERS", "POST"];

const EMPTY: &str = "no policies; `beamline-router policy put TENANT POLICY -f FILE` saves one";

/// A row for each policy, and then those that the router cannot read.
pub(in crate::cli) fn list(answer: &PoliciesAnswer) -> String {
    let table = if answer.policies.is_empty() {
        EMPTY.to_owned()
    } else {
        rows(answer)
    };
    if answer.unreadable.is_empty() {
        table
    } else {
        format!("{table}\n\n{}", unreadable(&answer.unreadable))
    }
}

fn rows(answer: &PoliciesAnswer) -> String {
    let mut table = table::with_header(&HEADER, &NUMBERS);
    for policy in &answer.policies {
        table.add_row([
            text::plain(&policy.tenant_id),
            text::plain(&policy.policy_id),
            text::or_dash(policy.version.as_deref()),
            number(policy.pre),
            number(policy.validators),
            number(policy.providers),
            number(policy.post),
        ]);
    }
    table::text(&table)
}

fn number(number: Option<usize>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn unreadable(policies: &[UnreadablePolicy]) -> String {
    let mut lines = vec![
        "not served, because this router cannot read them; `policy put` replaces one:".to_owned(),
    ];
    for UnreadablePolicy { name, reason } in policies {
        lines.push(text::plain(&format!("  {name}: {reason}")));
    }
    lines.join("\n")
}

/// What the policy does, on one line.
pub(in crate::cli) fn summary(policy: &Policy, form: Option<Form>) -> String {
    let mut parts: Vec<String> = form.map(|form| form.to_string()).into_iter().collect();
    let stages = [
        ("pre-processor", policy.pre.len()),
        ("validator", policy.validators.len()),
        ("post-processor", policy.post.len()),
        ("output validator", policy.output_validators.len()),
    ];
    let stages: Vec<String> = stages
        .iter()
        .filter(|(_, number)| *number > 0)
        .map(|(what, number)| text::count(*number, what))
        .collect();
    parts.push(if stages.is_empty() {
        "no extensions".to_owned()
    } else {
        stages.join(", ")
    });
    parts.push(providers(policy));
    parts.push(match policy.fallbacks.len() {
        0 => "no fallbacks".to_owned(),
        number => text::count(number, "fallback rule"),
    });
    parts.push(match &policy.sticky {
        None => "not sticky".to_owned(),
        Some(sticky) => {
            let time = text::limit(sticky.ttl);
            format!("sticky by {} for {time}", sticky.session_key)
        }
    });
    parts.join("; ")
}

fn providers(policy: &Policy) -> String {
    let sum: f64 = policy
        .providers
        .iter()
        .map(|provider| provider.weight)
        .sum();
    let names: Vec<String> = policy
        .providers
        .iter()
        .map(|provider| match policy.order {
            Order::Priority => provider.name.clone(),
            Order::Weighted => {
                let share = text::percentage(provider.weight / sum);
                format!("{} {share}", provider.name)
            }
        })
        .collect();
    let names = names.join(", ");
    match (policy.providers.as_slice(), policy.order) {
        (_, Order::Weighted) if sum == 0.0 => {
            "no provider takes traffic: every weight is 0".to_owned()
        }
        ([only], _) => format!("provider {}", only.name),
        (many, Order::Priority) => {
            format!("{} providers in priority order: {names}", many.len())
        }
        (many, Order::Weighted) => format!("{} providers by weight: {names}", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_listed_with_what_they_configure() {
        let answer = r#"{"ok":true,"revision":7,"policies":[
            {"tenant_id":"acme","policy_id":"default","version":"1.0","pre":2,"validators":1,"providers":1,"post":0,
             "policy":{"steps":[]}},
            {"tenant_id":"demo\u001b[2J","policy_id":"legacy","version":null,"policy":{}}],"unreadable":[]}"#;
        let expected = "\
TENANT         POLICY   VERSION  PRE  VALIDATORS  PROVIDERS  POST
acme           default  1.0        2           1          1     0
demo\\u{1b}[2J  legacy   -          -           -          -     -";
        assert_eq!(
            list(&serde_json::from_str(answer).expect("an answer")),
            expected
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_reason() {
        let answer = r#"{"ok":true,"revision":7,"policies":[],"unreadable":[{"name":"acme/old","reason":"/stepps: is not a known key"}]}"#;
        let expected = "\
no policies; `beamline-router policy put TENANT POLICY -f FILE` saves one

not served, because this router cannot read them; `policy put` replaces one:
  acme/old: /stepps: is not a known key";
        assert_eq!(
            list(&serde_json::from_str(answer).expect("an answer")),
            expected
        );
    }
}
