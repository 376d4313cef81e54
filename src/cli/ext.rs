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
pub(in crate::cli) mod uses;
mod version;

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
    /// Add, change, promote, remove and roll back versions
    #[command(subcommand)]
    Version(version::VersionCommand),
    /// Let policies use an extension
    Enable { id: String },
    /// Take an extension out of use without deleting it
    Disable {
        id: String,
        /// Do not ask, also when policies use it
        #[arg(long)]
        yes: bool,
    },
}

/// What `ext list` takes besides the global options.
#[derive(Debug, Clone, Copy, Args)]
pub struct ListArgs {
    /// Only extensions of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds())]
    kind: Option<Kind>,
    /// Also show subjects, timeouts and retries
    #[arg(long)]
    wide: bool,
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
        ExtCommand::List(args) => list::run(&connect().await?, args, console).await,
        ExtCommand::Health { id } => health::run(&connect().await?, id, console).await,
        ExtCommand::Get { id } => get(&connect().await?, id, console).await,
        ExtCommand::Create(args) => {
            let (record, _) = record::seen(&args.record()?);
            let create = CreateExtension(record);
            let answer = connect().await?.admin(&create).await?;
            written(&answer, &record::id_of(&create.0), "created", &[], console)
        }
        ExtCommand::Update(args) => {
            // A record that was read, edited and comes back takes nobody else's change away.
            let (patch, seen) = record::seen(&args.record()?);
            let update = UpdateExtension(patch);
            let client = connect().await?;
            let answer = match seen {
                Some(seen) => client.admin_if(&update, seen).await?,
                None => client.admin(&update).await?,
            };
            written(&answer, &record::id_of(&update.0), "updated", &[], console)
        }
        ExtCommand::Delete { id, yes } => {
            let question = format!("Delete extension '{id}'?");
            if !yes && !console.can_ask() {
                return console.confirm(&question);
            }
            let named = uses::name(&connect().await?, &id, "deleted", console).await;
            if !yes {
                console.confirm(&question)?;
            }
            delete(&connect().await?, DeleteExtension { id }, &named, console).await
        }
        ExtCommand::Version(command) => {
            let prepared = command.prepare()?;
            prepared.run(&connect().await?, console).await
        }
        ExtCommand::Enable { id } => {
            let enable = EnableExtension { id };
            let answer = connect().await?.admin(&enable).await?;
            written(&answer, &enable.id, "enabled", &[], console)
        }
        ExtCommand::Disable { id, yes } => {
            let named = uses::name(&connect().await?, &id, "disabled", console).await;
            if !yes && !named.is_empty() && console.can_ask() {
                console.confirm(&format!("Disable extension '{id}'?"))?;
            }
            let disable = DisableExtension { id };
            let answer = connect().await?.admin(&disable).await?;
            written(&answer, &disable.id, "disabled", &named, console)
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

/// `named` are the policies that it is known of that they use the extension.
async fn delete(
    client: &Client,
    delete: DeleteExtension,
    named: &[String],
    console: Console,
) -> Result<(), Failure> {
    let answer = client.admin(&delete).await?;
    let deleted: ExtensionDeleted = answer.read()?;
    uses::name_others(
        &delete.id,
        "deleted",
        &deleted.used_by_policies,
        named,
        console,
    );
    console.answer(answer.raw(), || {
        Ok(done(&delete.id, "deleted", deleted.revision))
    })
}

/// `what` was done to an extension, of which the policies `named` are told already. Its record is
/// not looked into.
fn written(
    answer: &Answer<ExtensionAnswer>,
    id: &str,
    what: &str,
    named: &[String],
    console: Console,
) -> Result<(), Failure> {
    let written: ExtensionAnswer<&RawValue> = answer.read_as()?;
    let policies = written.used_by_policies.unwrap_or_default();
    uses::name_others(id, what, &policies, named, console);
    console.warn_of(&written.warnings);
    console.answer(answer.raw(), || Ok(done(id, what, written.revision)))
}

fn done(id: &str, what: &str, revision: u64) -> String {
    text::plain(&format!("extension '{id}' {what} at revision {revision}"))
}
