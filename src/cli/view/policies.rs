//! Whose policies there are, and what each of them configures.

use beamline_contract::admin::{PoliciesAnswer, UnreadablePolicy};

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
