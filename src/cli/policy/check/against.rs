//! `--against`: what a running router has to say to a document that is right in itself.

use beamline_contract::admin::PutPolicy;
use beamline_domain::document::Located;
use beamline_domain::document::pointer::{Place, position};

use super::super::{Client, Failure};
use super::File;
use crate::cli::RefusedAnswer;

/// The policy that a document is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    tenant: String,
    policy: String,
}

impl Target {
    /// `TENANT/POLICY`; the `router:` that `policy diff` needs is no mistake.
    pub(super) fn parse(argument: &str) -> Result<Self, String> {
        match argument
            .strip_prefix("router:")
            .unwrap_or(argument)
            .split_once('/')
        {
            Some((tenant, policy))
                if !tenant.is_empty() && !policy.is_empty() && !policy.contains('/') =>
            {
                Ok(Self {
                    tenant: tenant.to_owned(),
                    policy: policy.to_owned(),
                })
            }
            _ => Err("write it as TENANT/POLICY".to_owned()),
        }
    }

    /// Adds to a good document the mistakes that the router finds. It is asked to save nothing.
    pub(super) async fn ask(&self, client: &Client, file: &mut File) -> Result<(), Failure> {
        let policy = serde_json::from_str(&file.text)
            .map_err(|error| Failure::Failed(format!("{} cannot be sent: {error}.", file.name)))?;
        let check = PutPolicy {
            tenant_id: self.tenant.clone(),
            policy_id: self.policy.clone(),
            policy,
            check_only: true,
        };
        let Err(failure) = client.admin(&check).await else {
            return Ok(());
        };
        let mistakes = if let Failure::Refused(refusal) = &failure {
            located(refusal, &file.text)
        } else {
            Vec::new()
        };
        // Refused for another reason, or nobody answered.
        if mistakes.is_empty() {
            return Err(failure);
        }
        file.checked.result = Err(mistakes);
        Ok(())
    }
}

/// The mistakes in a refusal, with their places in the text.
fn located(refusal: &RefusedAnswer, text: &str) -> Vec<Located> {
    let mut located: Vec<Located> = refusal
        .mistakes()
        .into_iter()
        .map(|mistake| Located {
            position: position(text, &Place::from(mistake.pointer.as_str())),
            mistake,
        })
        .collect();
    located.sort_by_key(|located| located.position);
    located
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_tenant_and_a_policy() {
        let target = Target {
            tenant: "acme".into(),
            policy: "default".into(),
        };
        assert_eq!(Target::parse("acme/default"), Ok(target.clone()));
        assert_eq!(Target::parse("router:acme/default"), Ok(target));
        for wrong in ["acme", "/default", "acme/", "a/b/c", ""] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_router_says_gets_its_place() {
        let text = "{\n  \"providers\": [\"a\",\n    \"gpt\"],\n  \"pre\": [{\"id\": \"x\"}]\n}";
        let refusal = r#"{"ok":false,"error":{"code":"invalid_request","message":"no","details":{"mistakes":[
            {"pointer":"/pre/0/id","message":"x is not registered"},{"pointer":"/providers/1","message":"gpt is not"}]}}}"#;
        let refusal = RefusedAnswer::in_answer(refusal).expect("a refusal");
        let places: Vec<_> = located(&refusal, text)
            .into_iter()
            .map(|found| {
                (
                    found.position.line,
                    found.position.column,
                    found.mistake.pointer,
                )
            })
            .collect();
        assert_eq!(
            places,
            [
                (3, 5, "/providers/1".to_owned()),
                (4, 18, "/pre/0/id".to_owned())
            ]
        );
        let other = r#"{"ok":false,"error":{"code":"overloaded","message":"no"}}"#;
        let other = RefusedAnswer::in_answer(other).expect("a refusal");
        assert!(located(&other, text).is_empty());
    }
}
