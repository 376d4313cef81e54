//! `ext`: the extensions of a running router: what is registered, how it is doing, and changes to it.

use std::time::Duration;

use beamline_contract::record::Kind;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::client::{Answer, Client};
use super::{Console, Failure, text};
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
    // Files are read and questions asked before anything is connected: a person may take longer than a connection.
    match command {
        ExtCommand::List(args) => list::run(&connect().await?, args.kind, console).await,
        ExtCommand::Health { id } => health::run(&connect().await?, id.as_deref(), console).await,
        ExtCommand::Get { id } => get(&connect().await?, &id, console).await,
        ExtCommand::Create(args) => {
            let record = args.record()?;
            let answer = connect().await?.admin("create_extension", &record).await?;
            done(&answer, &record::id_of(&record), "created", console)
        }
        ExtCommand::Update(args) => {
            let record = args.record()?;
            let answer = connect().await?.admin("update_extension", &record).await?;
            done(&answer, &record::id_of(&record), "updated", console)
        }
        ExtCommand::Delete { id, yes } => {
            if !yes {
                console.confirm(&format!("Delete extension '{id}'?"))?;
            }
            let answer = connect()
                .await?
                .admin("delete_extension", &json!({"id": id}))
                .await?;
            done(&answer, &id, "deleted", console)
        }
        ExtCommand::Enable { id } => {
            let answer = connect()
                .await?
                .admin("enable_extension", &json!({"id": id}))
                .await?;
            done(&answer, &id, "enabled", console)
        }
        ExtCommand::Disable { id } => {
            let answer = connect()
                .await?
                .admin("disable_extension", &json!({"id": id}))
                .await?;
            done(&answer, &id, "disabled", console)
        }
    }
}

/// With `--output json` the record itself, which is what `create -f` and `update -f` take.
async fn get(client: &Client, id: &str, console: Console) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Stored {
        extension: Box<RawValue>,
    }
    let stored: Stored = client
        .admin("get_extension", &json!({"id": id}))
        .await?
        .read()?;
    console.answer(stored.extension.get(), || {
        record::text(stored.extension.get())
    })
}

/// What every write answers.
#[derive(Debug, Deserialize)]
struct Written {
    revision: u64,
    #[serde(default)]
    used_by_policies: Vec<String>,
}

fn done(answer: &Answer, id: &str, what: &str, console: Console) -> Result<(), Failure> {
    let written: Written = answer.read()?;
    if let Some(warning) = written.warning(id, what) {
        console.warn(&warning);
    }
    console.answer(answer.raw(), || {
        Ok(text::plain(&format!(
            "extension '{id}' {what} at revision {}",
            written.revision
        )))
    })
}

impl Written {
    fn warning(&self, id: &str, what: &str) -> Option<String> {
        if self.used_by_policies.is_empty() {
            return None;
        }
        let policies: Vec<String> = self
            .used_by_policies
            .iter()
            .map(|policy| text::plain(policy))
            .collect();
        Some(format!(
            "extension '{}' is {what}, but these policies still use it: {}. Their requests get 'extension_not_found' \
             unless the policy can do without it.",
            text::plain(id),
            policies.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_still_use_an_extension_are_named() {
        let written: Written = serde_json::from_str(
            r#"{"ok":true,"revision":4,"used_by_policies":["acme/default","demo/x\n"]}"#,
        )
        .expect("an answer");
        assert_eq!(
            written.warning("pii_guard", "disabled").expect("a warning"),
            "extension 'pii_guard' is disabled, but these policies still use it: acme/default, demo/x\\n. Their requests get \
             'extension_not_found' unless the policy can do without it."
        );
        let unused: Written =
            serde_json::from_str(r#"{"ok":true,"revision":4}"#).expect("an answer");
        assert!(unused.warning("pii_guard", "deleted").is_none());
    }
}
