//! `ext version`: one version of an extension at a time, instead of a list of all as JSON.
//!
//! Each command looks at the record, makes the change of it, and writes it only if nobody has
//! changed the record meanwhile.

use beamline_contract::admin::{ExtensionAnswer, GetExtension, UpdateExtension};
use clap::{Args, Subcommand};
use serde_json::value::RawValue;

use super::written;
use crate::cli::client::Client;
use crate::cli::pairs::{Pair, as_fields};
use crate::cli::{Console, Failure, document};

mod change;

use change::{Change, Given, Known};

/// What can be done with the versions of an extension.
#[derive(Debug, Clone, Subcommand)]
pub enum VersionCommand {
    /// Add a version; it takes calls by --percent or --rule, and none without
    Add(PartsArgs),
    /// Change the given parts of a version, say the percentage of a canary
    Update(PartsArgs),
    /// Make a version the extension's own; the old one is remembered for `rollback`
    Promote { id: String, version: String },
    /// Remove a version
    Remove { id: String, version: String },
    /// Stop the canaries that run; when none does, go back to the version before the last promotion
    Rollback {
        id: String,
        /// Go to this version instead
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
    },
}

/// A version and its parts.
#[derive(Debug, Clone, Args)]
pub struct PartsArgs {
    /// Id of the extension
    id: String,
    /// Name of the version
    version: String,
    /// NATS subject of its service; absent means the one that follows from type, id and version
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// How long one call may take; absent means as of the extension
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// How often a failed call is repeated; absent means as of the extension
    #[arg(long, value_name = "TIMES")]
    retry: Option<u32>,
    /// Laid over the extension's configuration: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    config_json: Option<String>,
    /// The part of all sessions or tenants that gets it, 0 to 100
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    percent: Option<Box<RawValue>>,
    /// The context key whose value says who is in that part
    #[arg(long, value_name = "KEY")]
    percent_by: Option<String>,
    /// Who gets it, as KEY=VALUE or KEY:=JSON; may be repeated, and then all must hold
    #[arg(long = "rule", value_name = "KEY=VALUE", value_parser = Pair::parse)]
    rules: Vec<Pair>,
    /// Save it, but give it no calls
    #[arg(long, conflicts_with = "enabled")]
    disabled: bool,
    /// Give it calls again
    #[arg(long)]
    enabled: bool,
}

fn percent(word: &str) -> Result<Box<RawValue>, String> {
    let number = serde_json::from_str::<f64>(word).ok();
    number
        .filter(|number| (0.0..=100.0).contains(number))
        .and_then(|_| serde_json::from_str(word).ok())
        .ok_or_else(|| "give a number from 0 to 100".to_owned())
}

impl PartsArgs {
    fn given(&self) -> Result<Given, Failure> {
        let mut given = Given {
            rules: as_fields(&self.rules),
            ..Given::default()
        };
        given.rules.extend_with("percent", self.percent.as_ref())?;
        given
            .rules
            .extend_with("percent_by", self.percent_by.as_ref())?;
        given.parts.extend_with("subject", self.subject.as_ref())?;
        given.parts.extend_with("timeout_ms", self.timeout_ms)?;
        given.parts.extend_with("retry", self.retry)?;
        let config = self.config_json.as_deref().map(document::value_of);
        given.parts.extend_with("config", config.transpose()?)?;
        let enabled = (self.enabled || self.disabled).then_some(self.enabled);
        given.parts.extend_with("enabled", enabled)?;
        Ok(given)
    }
}

/// Fields that are written when somebody gave them.
trait ExtendWith {
    fn extend_with(
        &mut self,
        name: &str,
        value: Option<impl serde::Serialize>,
    ) -> Result<(), Failure>;
}

impl ExtendWith for beamline_contract::fields::Fields {
    fn extend_with(
        &mut self,
        name: &str,
        value: Option<impl serde::Serialize>,
    ) -> Result<(), Failure> {
        super::record::set(self, name, value)
    }
}

impl VersionCommand {
    fn id(&self) -> &str {
        match self {
            Self::Add(args) | Self::Update(args) => &args.id,
            Self::Promote { id, .. } | Self::Remove { id, .. } | Self::Rollback { id, .. } => id,
        }
    }

    /// Reads what stands in files, before anything is connected.
    pub(super) fn prepare(self) -> Result<Prepared, Failure> {
        let given = match &self {
            Self::Add(args) | Self::Update(args) => args.given()?,
            Self::Promote { .. } | Self::Remove { .. } | Self::Rollback { .. } => Given::default(),
        };
        Ok(Prepared {
            command: self,
            given,
        })
    }
}

/// A command with what its flags and files say.
#[derive(Debug)]
pub(super) struct Prepared {
    command: VersionCommand,
    given: Given,
}

impl Prepared {
    pub(super) async fn run(self, client: &Client, console: Console) -> Result<(), Failure> {
        let id = self.command.id().to_owned();
        let answer = client.admin(&GetExtension { id: id.clone() }).await?;
        let stored: ExtensionAnswer<&RawValue> = answer.read_as()?;
        let known = Known::read(&id, stored.extension.get())?;
        let Change { mut patch, what } = self.change(&known)?;
        patch.set_text("id", &id);
        let update = UpdateExtension(patch);
        let answer = client.admin_if(&update, stored.revision).await?;
        written(&answer, &id, &what, &[], console)
    }

    fn change(self, known: &Known) -> Result<Change, Failure> {
        match self.command {
            VersionCommand::Add(args) => known.add(&args.version, &self.given),
            VersionCommand::Update(args) => known.update(&args.version, &self.given),
            VersionCommand::Promote { version, .. } => known.promote(&version),
            VersionCommand::Remove { version, .. } => known.remove(&version),
            VersionCommand::Rollback { to, .. } => known.rollback(to.as_deref()),
        }
    }
}
