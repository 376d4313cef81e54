//! `policy`: the policies of tenants, as documents that go out and come back unchanged.

use std::time::Duration;

use beamline_contract::admin::{
    DeletePolicy, GetPolicy, ListPolicies, PolicyAnswer, PolicyWritten, PutPolicy,
};
use beamline_contract::policy::SCHEMA;
use clap::Subcommand;

use super::client::Client;
use super::nearest::{self, Known};
use super::view::{policies, text};
use super::{Console, Failure, document};
use crate::config::Config;

mod check;
mod complexity;
mod diff;
mod explain;
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
        /// Only if it was not changed after this revision (`policy list --output json` says it); 0:
        /// only if there is none
        #[arg(long, value_name = "REVISION")]
        if_revision: Option<u64>,
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
    // Files are read and questions asked before anything is connected: a person may take longer
    // than a connection.
    match command {
        PolicyCommand::List { tenant } => {
            let client = Client::connect(&load()?, timeout).await?;
            list(&client, tenant, console).await
        }
        PolicyCommand::Get { tenant, policy } => {
            let client = Client::connect(&load()?, timeout).await?;
            let stored = stored(&client, tenant, policy).await?;
            // The same with and without `--output json`: it is what `put` takes.
            console.print_json(stored.policy.get())
        }
        PolicyCommand::Put {
            tenant,
            policy,
            file,
            if_revision,
        } => {
            let put_policy = PutPolicy {
                tenant_id: tenant,
                policy_id: policy,
                policy: document::whole_object_in(&file)?,
                check_only: false,
            };
            let client = Client::connect(&load()?, timeout).await?;
            put(&client, &put_policy, if_revision, console).await
        }
        PolicyCommand::Delete {
            tenant,
            policy,
            yes,
        } => {
            let config = load()?;
            let affected = Client::connect(&config, timeout).await?;
            let known = Known::of(&affected, timeout).await?;
            drop(affected);
            // What does not exist is nothing to ask about.
            if known.has(&tenant, &policy) {
                console.warn(&after_deletion(&tenant, &policy, &known));
                if !yes {
                    console.confirm(&format!("Delete policy '{policy}' of tenant '{tenant}'?"))?;
                }
            }
            let client = Client::connect(&config, timeout).await?;
            let delete_policy = DeletePolicy {
                tenant_id: tenant,
                policy_id: policy,
            };
            delete(&client, &delete_policy, known.revision, console).await
        }
        PolicyCommand::Explain(args) => explain::run(&load()?, &args, timeout, console).await,
        PolicyCommand::Complexity(args) => {
            complexity::run(&Client::connect(&load()?, timeout).await?, args, console).await
        }
        PolicyCommand::Check(args) => check::run(load, &args, timeout, console).await,
        PolicyCommand::Diff(args) => diff::run(load, &args, timeout, console).await,
        PolicyCommand::Schema => console.print_json(SCHEMA),
    }
}

async fn list(client: &Client, tenant: Option<String>, console: Console) -> Result<(), Failure> {
    let answer = client.admin(&ListPolicies { tenant_id: tenant }).await?;
    console.answer(answer.raw(), || Ok(policies::list(&answer.read()?)))
}

/// The policy that a running router has, its document as it was put.
async fn stored(
    client: &Client,
    tenant_id: String,
    policy_id: String,
) -> Result<PolicyAnswer, Failure> {
    let question = GetPolicy {
        tenant_id,
        policy_id,
    };
    match client.admin(&question).await {
        Ok(answer) => answer.read(),
        Err(failure) => {
            let GetPolicy {
                tenant_id,
                policy_id,
            } = question;
            Err(nearest::with_hint(client, failure, &tenant_id, &policy_id).await)
        }
    }
}

async fn put(
    client: &Client,
    put: &PutPolicy,
    if_revision: Option<u64>,
    console: Console,
) -> Result<(), Failure> {
    let answer = match if_revision {
        Some(seen) => client.admin_if(put, seen).await?,
        None => client.admin(put).await?,
    };
    let written: PolicyWritten = answer.read()?;
    console.warn_of(&written.warnings);
    console.answer(answer.raw(), || {
        let revision = written.revision;
        Ok(done(&put.tenant_id, &put.policy_id, "saved", revision))
    })
}

/// `seen` is the revision at which somebody was asked.
async fn delete(
    client: &Client,
    delete: &DeletePolicy,
    seen: u64,
    console: Console,
) -> Result<(), Failure> {
    let deleted = client.admin_if(delete, seen).await;
    let answer = match deleted {
        Ok(answer) => answer,
        Err(failure) => {
            let DeletePolicy {
                tenant_id,
                policy_id,
            } = delete;
            return Err(nearest::with_hint(client, failure, tenant_id, policy_id).await);
        }
    };
    console.answer(answer.raw(), || {
        let revision = answer.read()?.revision;
        Ok(done(
            &delete.tenant_id,
            &delete.policy_id,
            "deleted",
            revision,
        ))
    })
}

/// Whose requests meet what, once it is gone.
fn after_deletion(tenant: &str, policy: &str, known: &Known) -> String {
    let or_none = match policy {
        "default" => ", or no policy,",
        _ => "",
    };
    let mut rest = known.of_tenant(tenant);
    rest.retain(|other| *other != policy);
    let rest = match rest.as_slice() {
        [] => "It is the tenant's last one".to_owned(),
        rest => format!("The tenant keeps {}", nearest::listed(rest)),
    };
    format!(
        "requests of tenant '{tenant}' that name policy '{policy}'{or_none} will get 'policy_not_found'. {rest}."
    )
}

fn done(tenant: &str, policy: &str, what: &str, revision: u64) -> String {
    text::plain(&format!(
        "policy '{policy}' of tenant '{tenant}' {what} at revision {revision}"
    ))
}
