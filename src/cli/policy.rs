//! `policy`: the policies of tenants, as documents that go out and come back unchanged.

use std::time::Duration;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::client::Client;
use super::{Console, Failure, document, table, text};
use crate::config::Config;

/// What can be done with policies.
#[derive(Debug, Clone, Subcommand)]
pub enum PolicyCommand {
    /// List policies
    List {
        /// Only those of this tenant
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Print the document of a policy, ready for `put`
    Get { tenant: String, policy: String },
    /// Create or replace a policy
    Put {
        tenant: String,
        policy: String,
        /// The document, or - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: String,
    },
    /// Delete a policy
    Delete {
        tenant: String,
        policy: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(
    config: &Config,
    command: PolicyCommand,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    // Files are read and questions asked before anything is connected: a person may take longer than a connection.
    match command {
        PolicyCommand::List { tenant } => {
            let client = Client::connect(config, timeout).await?;
            list(&client, tenant.as_deref(), console).await
        }
        PolicyCommand::Get { tenant, policy } => {
            let client = Client::connect(config, timeout).await?;
            get(&client, &tenant, &policy, console).await
        }
        PolicyCommand::Put { tenant, policy, file } => {
            let document = document::whole_object_in(&file)?;
            let client = Client::connect(config, timeout).await?;
            put(&client, &tenant, &policy, &document, console).await
        }
        PolicyCommand::Delete { tenant, policy, yes } => {
            if !yes {
                console.confirm(&format!("Delete policy '{policy}' of tenant '{tenant}'?"))?;
            }
            let client = Client::connect(config, timeout).await?;
            delete(&client, &tenant, &policy, console).await
        }
    }
}

async fn list(client: &Client, tenant: Option<&str>, console: Console) -> Result<(), Failure> {
    let body = tenant.map_or_else(|| json!({}), |tenant| json!({"tenant_id": tenant}));
    let answer = client.admin("list_policies", &body).await?;
    console.answer(answer.raw(), || Ok(answer.read::<Listed>()?.text()))
}

/// The same document with and without `--output json`: it is what `put` takes.
async fn get(client: &Client, tenant: &str, policy: &str, console: Console) -> Result<(), Failure> {
    let answer = client.admin("get_policy", &json!({"tenant_id": tenant, "policy_id": policy})).await?;
    console.print_json(answer.read::<Stored>()?.policy.get())
}

async fn put(
    client: &Client,
    tenant: &str,
    policy: &str,
    document: &RawValue,
    console: Console,
) -> Result<(), Failure> {
    #[derive(serde::Serialize)]
    struct Put<'a> {
        tenant_id: &'a str,
        policy_id: &'a str,
        policy: &'a RawValue,
    }
    let answer = client.admin("put_policy", &Put { tenant_id: tenant, policy_id: policy, policy: document }).await?;
    console.answer(answer.raw(), || {
        let revision = answer.read::<Written>()?.revision;
        Ok(text::plain(&format!("policy '{policy}' of tenant '{tenant}' saved at revision {revision}")))
    })
}

async fn delete(client: &Client, tenant: &str, policy: &str, console: Console) -> Result<(), Failure> {
    let answer = client.admin("delete_policy", &json!({"tenant_id": tenant, "policy_id": policy})).await?;
    console.answer(answer.raw(), || {
        let revision = answer.read::<Written>()?.revision;
        Ok(text::plain(&format!("policy '{policy}' of tenant '{tenant}' deleted at revision {revision}")))
    })
}

#[derive(Debug, Deserialize)]
struct Written {
    revision: u64,
}

#[derive(Debug, Deserialize)]
struct Stored {
    policy: Box<RawValue>,
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

    #[test]
    fn a_document_comes_out_as_it_went_in() {
        let answer = r#"{"ok":true,"revision":7,"policy":{"version":"1.0","providers":{"b":0.70,"a":1e2}}}"#;
        let stored: Stored = serde_json::from_str(answer).expect("an answer");
        assert_eq!(stored.policy.get(), r#"{"version":"1.0","providers":{"b":0.70,"a":1e2}}"#);
    }
}
