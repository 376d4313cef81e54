//! `ext`: the extensions of a running router: what is registered, how it is doing, and changes to
//! it.

use std::time::Duration;

use beamline_contract::admin::{
    CreateExtension, DeleteExtension, DisableExtension, EnableExtension, ExtensionAnswer,
    ExtensionDeleted, GetExtension, UpdateExtension,
};
use beamline_contract::record::Kind;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde_json::value::RawValue;

use super::client::{Answer, Client};
use super::view::{record as record_view, text};
use super::{Console, Failure};
use crate::config::Config;

mod health;
mod list;
mod record;

/// What can be done with extensions.
#[derive(Debug, Clone, Subcommand)]
pub enum ExtCommand {
    /// List extensions with their health and breakers
    List(ListArgs),
    /// Show how extensions do, by version and instance
    Health {
        /// Only this extension
        id: Option<String>,
    },
    /// Show one extension
    Get { id: String },
    /// Register an extension, from a file or from flags; flags win
    Create(record::CreateArgs),
    /// Change the given parts of an extension
    Update(record::UpdateArgs),
    /// Delete an extension
    Delete {
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let policies use an extension
    Enable { id: String },
    /// Take an extension out of use without deleting it
    Disable { id: String },
}

/// What `ext list` takes besides the global options.
#[derive(Debug, Clone, Copy, Args)]
pub struct ListArgs {
    /// Only extensions of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds())]
    kind: Option<Kind>,
}

/// The types of extensions in the words of the wire.
fn kinds() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(|(name, _)| name))
        .try_map(|word| Kind::parse(&word).ok_or("no such type"))
}

pub(super) async fn run(
    config: &Config,
    command: ExtCommand,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let connect = || Client::connect(config, timeout);
    // Files are read and questions asked before anything is connected: a person may take longer
    // than a connection.
    match command {
        ExtCommand::List(args) => list::run(&connect().await?, args.kind, console).await,
        ExtCommand::Health { id } => health::run(&connect().await?, id, console).await,
        ExtCommand::Get { id } => get(&connect().await?, id, console).await,
        ExtCommand::Create(args) => {
            let create = CreateExtension(args.record()?);
            let answer = connect().await?.admin(&create).await?;
            written(&answer, &record::id_of(&create.0), "created", console)
        }
        ExtCommand::Update(args) => {
            let update = UpdateExtension(args.record()?);
            let answer = connect().await?.admin(&update).await?;
            written(&answer, &record::id_of(&update.0), "updated", console)
        }
        ExtCommand::Delete { id, yes } => {
            if !yes {
                console.confirm(&format!("Delete extension '{id}'?"))?;
            }
            delete(&connect().await?, DeleteExtension { id }, console).await
        }
        ExtCommand::Enable { id } => {
            let enable = EnableExtension { id };
            let answer = connect().await?.admin(&enable).await?;
            written(&answer, &enable.id, "enabled", console)
        }
        ExtCommand::Disable { id } => {
            let disable = DisableExtension { id };
            let answer = connect().await?.admin(&disable).await?;
            written(&answer, &disable.id, "disabled", console)
        }
    }
}

/// With `--output json` the record itself, which is what `create -f` and `update -f` take.
async fn get(client: &Client, id: String, console: Console) -> Result<(), Failure> {
    let answer = client.admin(&GetExtension { id }).await?;
    let stored: ExtensionAnswer<&RawValue> = answer.read_as()?;
    console.answer(stored.extension.get(), || {
        record_view::text(stored.extension.get())
    })
}

async fn delete(client: &Client, delete: DeleteExtension, console: Console) -> Result<(), Failure> {
    let answer = client.admin(&delete).await?;
    let deleted: ExtensionDeleted = answer.read()?;
    if let Some(warning) = still_used(&delete.id, "deleted", &deleted.used_by_policies) {
        console.warn(&warning);
    }
    console.answer(answer.raw(), || {
        Ok(done(&delete.id, "deleted", deleted.revision))
    })
}

/// `what` was done to an extension. Its record is not looked into.
fn written(
    answer: &Answer<ExtensionAnswer>,
    id: &str,
    what: &str,
    console: Console,
) -> Result<(), Failure> {
    let written: ExtensionAnswer<&RawValue> = answer.read_as()?;
    let policies = written.used_by_policies.unwrap_or_default();
    if let Some(warning) = still_used(id, what, &policies) {
        console.warn(&warning);
    }
    console.answer(answer.raw(), || Ok(done(id, what, written.revision)))
}

fn done(id: &str, what: &str, revision: u64) -> String {
    text::plain(&format!("extension '{id}' {what} at revision {revision}"))
}

fn still_used(id: &str, what: &str, policies: &[String]) -> Option<String> {
    if policies.is_empty() {
        return None;
    }
    let policies: Vec<String> = policies.iter().map(|policy| text::plain(policy)).collect();
    Some(format!(
        "extension '{}' is {what}, but these policies still use it: {}. Their requests get \
         'extension_not_found' unless the policy can do without it.",
        text::plain(id),
        policies.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_still_use_an_extension_are_named() {
        let policies = ["acme/default".to_owned(), "demo/x\n".to_owned()];
        assert_eq!(
            still_used("pii_guard", "disabled", &policies).expect("a warning"),
            "extension 'pii_guard' is disabled, but these policies still use it: acme/default, demo/x\\n. Their requests get \
             'extension_not_found' unless the policy can do without it."
        );
        assert!(still_used("pii_guard", "deleted", &[]).is_none());
    }
}
