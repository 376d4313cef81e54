//! `policy list`: whose policies there are, and what each of them configures.

use serde::Deserialize;
use serde_json::json;

use super::{Client, Console, Failure, table, text};

pub(super) async fn run(
    client: &Client,
    tenant: Option<&str>,
    console: Console,
) -> Result<(), Failure> {
    let body = tenant.map_or_else(|| json!({}), |tenant| json!({"tenant_id": tenant}));
    let answer = client.admin("list_policies", &body).await?;
    console.answer(answer.raw(), || Ok(answer.read::<Listed>()?.text()))
}

#[derive(Debug, Deserialize)]
struct Listed {
    policies: Vec<Entry>,
    #[serde(default)]
    unreadable: Vec<Unreadable>,
}

/// Counts are of the policy as the router understands it, whatever form its document has.
#[derive(Debug, Deserialize)]
struct Entry {
    tenant_id: String,
    policy_id: String,
    version: Option<String>,
    pre: Option<u64>,
    validators: Option<u64>,
    providers: Option<u64>,
    post: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Unreadable {
    name: String,
    #[serde(default)]
    reason: String,
}

impl Listed {
    fn text(&self) -> String {
        let table = if self.policies.is_empty() {
            EMPTY.to_owned()
        } else {
            self.table()
        };
        if self.unreadable.is_empty() {
            table
        } else {
            format!("{table}\n\n{}", self.unreadable())
        }
    }

    fn table(&self) -> String {
        let counted = ["PRE", "VALIDATORS", "PROVIDERS", "POST"];
        let mut table = table::with_header(
            &[
                "TENANT",
                "POLICY",
                "VERSION",
                "PRE",
                "VALIDATORS",
                "PROVIDERS",
                "POST",
            ],
            &counted,
        );
        let count = |number: Option<u64>| {
            number.map_or_else(|| "-".to_owned(), |number| number.to_string())
        };
        for entry in &self.policies {
            table.add_row([
                text::plain(&entry.tenant_id),
                text::plain(&entry.policy_id),
                text::plain(entry.version.as_deref().unwrap_or("-")),
                count(entry.pre),
                count(entry.validators),
                count(entry.providers),
                count(entry.post),
            ]);
        }
        table::text(&table)
    }

    fn unreadable(&self) -> String {
        let lines = self
            .unreadable
            .iter()
            .map(|Unreadable { name, reason }| format!("  {name}: {reason}"));
        let lines: Vec<String> = lines.map(|line| text::plain(&line)).collect();
        format!(
            "not served, because this router cannot read them; `policy put` replaces one:\n{}",
            lines.join("\n")
        )
    }
}

const EMPTY: &str = "no policies; `beamline-router policy put TENANT POLICY -f FILE` saves one";

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
            serde_json::from_str::<Listed>(answer)
                .expect("an answer")
                .text(),
            expected
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_reason() {
        let answer = r#"{"policies":[],"unreadable":[{"name":"acme/old","reason":"/stepps: is not a known key"}]}"#;
        let expected = "\
no policies; `beamline-router policy put TENANT POLICY -f FILE` saves one

not served, because this router cannot read them; `policy put` replaces one:
  acme/old: /stepps: is not a known key";
        assert_eq!(
            serde_json::from_str::<Listed>(answer)
                .expect("an answer")
                .text(),
            expected
        );
    }
}
