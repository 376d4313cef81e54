//! Which policies use an extension: said before it is taken away from them.

use beamline_contract::admin::{ListPolicies, PoliciesAnswer};
use beamline_domain::policy::Policy;

use crate::cli::client::Client;
use crate::cli::view::text;
use crate::cli::{Console, Failure};

/// Names the policies that use an extension, and answers them. That they cannot be asked for is no
/// reason not to go on.
pub(in crate::cli) async fn name(
    client: &Client,
    id: &str,
    what: &str,
    console: Console,
) -> Vec<String> {
    match used_by(client, id).await {
        Ok(policies) => {
            name_others(id, what, &policies, &[], console);
            policies
        }
        Err(failure) => {
            let sentence = failure.sentence();
            let reason = sentence.trim_start_matches("error: ");
            console.warn(&format!(
                "it is not known which policies use '{id}': {reason}"
            ));
            Vec::new()
        }
    }
}

/// The same for policies that an answer names, unless they are `named` already.
pub(super) fn name_others(
    id: &str,
    what: &str,
    policies: &[String],
    named: &[String],
    console: Console,
) {
    if policies.is_empty() || policies == named {
        return;
    }
    console.warn(&sentence(id, what, policies));
}

fn sentence(id: &str, what: &str, policies: &[String]) -> String {
    let policies: Vec<String> = policies.iter().map(|policy| text::plain(policy)).collect();
    format!(
        "these policies still use it: {}. With '{}' {what}, their requests fail unless the policy \
         can do without it.",
        policies.join(", "),
        text::plain(id)
    )
}

/// The policies that name an extension, as `tenant/policy`.
async fn used_by(client: &Client, id: &str) -> Result<Vec<String>, Failure> {
    let answer = client.admin(&ListPolicies { tenant_id: None }).await?;
    let listed: PoliciesAnswer = answer.read()?;
    let mut policies = Vec::new();
    for policy in listed.policies {
        let Ok(document) = Policy::parse_stored(policy.policy.get()) else {
            continue;
        };
        if document.references().any(|(named, _, _)| named == id) {
            policies.push(format!("{}/{}", policy.tenant_id, policy.policy_id));
        }
    }
    Ok(policies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_still_use_an_extension_are_named() {
        let policies = ["acme/default".to_owned(), "demo/x\n".to_owned()];
        assert_eq!(
            sentence("pii_guard", "disabled", &policies),
            "these policies still use it: acme/default, demo/x\\n. With 'pii_guard' disabled, their requests fail \
             unless the policy can do without it."
        );
    }
}
