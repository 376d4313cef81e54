//! `policy`: the policies of tenants, as documents that go out and come back unchanged.

use std::time::Duration;

use beamline_domain::policy::SCHEMA;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Client;
use super::{Console, Failure, document, table, text};
use crate::config::Config;

mod check;
mod complexity;
mod diff;
mod explain;
mod list;
mod source;

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
    /// Show what a policy would do with a message, and why, without asking the provider
    Explain(Box<explain::ExplainArgs>),
    /// Show how long a pipeline is, and what would make it shorter
    Complexity(complexity::ComplexityArgs),
    /// List every mistake of documents with line and column; needs no router
    Check(check::CheckArgs),
    /// Say in plain words what changes from one document to another
    Diff(diff::DiffArgs),
    /// Print the JSON Schema of policies, for editors
    Schema,
}

/// `load` reads the configuration: what needs no router works with a broken one too.
pub(super) async fn run(
    load: impl Fn() -> Result<Config, Failure>,
    command: PolicyCommand,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    // Files are read and questions asked before anything is connected: a person may take longer than a connection.
    match command {
        PolicyCommand::List { tenant } => {
            let client = Client::connect(&load()?, timeout).await?;
            list::run(&client, tenant.as_deref(), console).await
        }
        PolicyCommand::Get { tenant, policy } => {
            let client = Client::connect(&load()?, timeout).await?;
            get(&client, &tenant, &policy, console).await
        }
        PolicyCommand::Put {
            tenant,
            policy,
            file,
        } => {
            let document = document::whole_object_in(&file)?;
            let client = Client::connect(&load()?, timeout).await?;
            put(&client, &tenant, &policy, &document, console).await
        }
        PolicyCommand::Delete {
            tenant,
            policy,
            yes,
        } => {
            if !yes {
                console.confirm(&format!("Delete policy '{policy}' of tenant '{tenant}'?"))?;
            }
            let client = Client::connect(&load()?, timeout).await?;
            delete(&client, &tenant, &policy, console).await
        }
        PolicyCommand::Explain(args) => explain::run(&load()?, &args, timeout, console).await,
        PolicyCommand::Complexity(args) => {
            complexity::run(&Client::connect(&load()?, timeout).await?, &args, console).await
        }
        PolicyCommand::Check(args) => check::run(load, &args, timeout, console).await,
        PolicyCommand::Diff(args) => diff::run(load, &args, timeout, console).await,
        PolicyCommand::Schema => console.print_json(SCHEMA),
    }
}

/// The same document with and without `--output json`: it is what `put` takes.
async fn get(client: &Client, tenant: &str, policy: &str, console: Console) -> Result<(), Failure> {
    console.print_json(stored(client, tenant, policy).await?.get())
}

/// The document that a running router has, as it was put.
async fn stored(client: &Client, tenant: &str, policy: &str) -> Result<Box<RawValue>, Failure> {
    let answer = client
        .admin(
            "get_policy",
            &serde_json::json!({"tenant_id": tenant, "policy_id": policy}),
        )
        .await?;
    Ok(answer.read::<Stored>()?.policy)
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
    let answer = client
        .admin(
            "put_policy",
            &Put {
                tenant_id: tenant,
                policy_id: policy,
                policy: document,
            },
        )
        .await?;
    console.answer(answer.raw(), || {
        let revision = answer.read::<Written>()?.revision;
        Ok(text::plain(&format!(
            "policy '{policy}' of tenant '{tenant}' saved at revision {revision}"
        )))
    })
}

async fn delete(
    client: &Client,
    tenant: &str,
    policy: &str,
    console: Console,
) -> Result<(), Failure> {
    let answer = client
        .admin(
            "delete_policy",
            &serde_json::json!({"tenant_id": tenant, "policy_id": policy}),
        )
        .await?;
    console.answer(answer.raw(), || {
        let revision = answer.read::<Written>()?.revision;
        Ok(text::plain(&format!(
            "policy '{policy}' of tenant '{tenant}' deleted at revision {revision}"
        )))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_out_as_it_went_in() {
        let answer =
            r#"{"ok":true,"revision":7,"policy":{"version":"1.0","providers":{"b":0.70,"a":1e2}}}"#;
        let stored: Stored = serde_json::from_str(answer).expect("an answer");
        assert_eq!(
            stored.policy.get(),
            r#"{"version":"1.0","providers":{"b":0.70,"a":1e2}}"#
        );
    }
}
