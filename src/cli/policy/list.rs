//! `policy list`: whose policies there are, and what each of them configures.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Client, Console, Failure, table, text};

pub(super) async fn run(client: &Client, tenant: Option<&str>, console: Console) -> Result<(), Failure> {
    let body = tenant.map_or_else(|| json!({}), |tenant| json!({"tenant_id": tenant}));
    let answer = client.admin("list_policies", &body).await?;
    console.answer(answer.raw(), || Ok(answer.read::<Listed>()?.text()))
}

#[derive(Debug, Deserialize)]
struct Listed {
    policies: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    tenant_id: String,
    policy_id: String,
    version: Option<String>,
    #[serde(default)]
    policy: Value,
}

impl Entry {
    /// How many entries a part of the document has; older forms of documents may have it as something else.
    fn count(&self, part: &str) -> String {
        let entries = self.policy.get(part).and_then(Value::as_array);
        entries.map_or_else(|| "-".to_owned(), |entries| entries.len().to_string())
    }
}

impl Listed {
    fn text(&self) -> String {
        if self.policies.is_empty() {
            return "no policies; `beamline-router policy put TENANT POLICY -f FILE` saves one".to_owned();
        }
        let counted = ["PRE", "VALIDATORS", "PROVIDERS", "POST"];
        let mut table =
            table::with_header(&["TENANT", "POLICY", "VERSION", "PRE", "VALIDATORS", "PROVIDERS", "POST"], &counted);
        for entry in &self.policies {
            table.add_row([
                text::plain(&entry.tenant_id),
                text::plain(&entry.policy_id),
                text::plain(entry.version.as_deref().unwrap_or("-")),
                entry.count("pre"),
                entry.count("validators"),
                entry.count("providers"),
                entry.count("post"),
            ]);
        }
        table::text(&table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_listed_with_what_they_configure() {
        let answer = r#"{"ok":true,"revision":7,"policies":[
            {"tenant_id":"acme","policy_id":"default","version":"1.0",
             "policy":{"pre":[{"id":"a"},{"id":"b"}],"validators":[{"id":"c"}],"providers":[{"name":"m","weight":1}],"post":[]}},
            {"tenant_id":"demo\u001b[2J","policy_id":"legacy","version":null,"policy":{}}]}"#;
        let expected = "\
TENANT         POLICY   VERSION  PRE  VALIDATORS  PROVIDERS  POST
acme           default  1.0        2           1          1     0
demo\\u{1b}[2J  legacy   -          -           -          -     -";
        assert_eq!(serde_json::from_str::<Listed>(answer).expect("an answer").text(), expected);
    }

    #[test]
    fn an_empty_list_says_how_to_fill_it() {
        let empty = Listed { policies: Vec::new() };
        assert_eq!(empty.text(), "no policies; `beamline-router policy put TENANT POLICY -f FILE` saves one");
    }
}
