//! `policy explain`: what a policy would do with a message, and why, without asking the provider.

use std::time::Duration;

use beamline_contract::admin::{DryRunAnswer, DryRunPipeline, DryRunResult};
use clap::Args;
use serde_json::value::RawValue;

use super::check::File;
use super::source::Source;
use super::{Client, Console, Failure};
use crate::cli::console::width;
use crate::cli::detail::{self, Detail};
use crate::cli::document;
use crate::cli::nearest;
use crate::cli::pairs::{Pair, as_fields};
use crate::cli::view::explain::{self, Look};
use crate::config::Config;

/// What `policy explain` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    tenant: String,
    policy: String,

    /// The message; an empty one unless given
    #[arg(conflicts_with = "payload_json")]
    message: Option<String>,

    /// A message that is any JSON value: the value itself, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    payload_json: Option<String>,

    /// A document that is not saved, instead of the policy that the router has; - for standard
    /// input
    #[arg(short, long, value_name = "FILE", value_parser = Source::local)]
    file: Option<Source>,

    /// Type of the message
    #[arg(long = "type", value_name = "TYPE", default_value = "chat")]
    message_type: String,

    /// Context for routing rules, sticky keys and extensions, KEY:=JSON if it is no text; may be
    /// repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = Pair::parse)]
    context: Vec<Pair>,

    /// Metadata of the message, KEY:=JSON if it is no text; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = Pair::parse)]
    metadata: Vec<Pair>,

    /// The time that the request would have; leaves out providers that usually take longer
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: Option<u64>,

    /// Really call pre-processors, validators and post-processors, never the provider; needs the
    /// role operator, or editor of the tenant
    #[arg(long)]
    call_extensions: bool,

    /// What the post-processors get as the provider's answer, as for --payload-json; without it,
    /// the message
    #[arg(long, value_name = "JSON", requires = "call_extensions")]
    provider_output: Option<String>,

    /// How much is told, detailed unless given; configs and subjects only with verbose
    #[arg(long, value_name = "LEVEL")]
    detail: Option<Detail>,
}

/// The router gives extensions this long at most, and its answer has to travel.
const CALLS: Duration = Duration::from_millis(10_500);

pub(super) async fn run(
    config: &Config,
    args: &ExplainArgs,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let dry_run = args.dry_run()?;
    let patience = if args.call_extensions {
        timeout.max(CALLS)
    } else {
        timeout
    };
    let client = Client::connect(config, timeout).await?;
    let answer = match client.admin_within(&dry_run, patience).await {
        Ok(answer) => answer,
        Err(failure) => {
            return Err(nearest::with_hint(&client, failure, &args.tenant, &args.policy).await);
        }
    };
    console.answer(answer.raw(), || {
        let look = Look {
            detail: args.detail.unwrap_or_default(),
            width: width(),
            colour: console.colour(),
        };
        let file = args.file.as_ref().map(Source::name);
        let run: DryRunAnswer<DryRunResult<'_>> = answer.read_as()?;
        Ok(explain::text(
            &run.result,
            &args.tenant,
            file.as_deref(),
            look,
        ))
    })
}

impl ExplainArgs {
    fn dry_run(&self) -> Result<DryRunPipeline, Failure> {
        let inputs = [
            self.payload_json.as_deref(),
            self.provider_output.as_deref(),
        ];
        let piped = inputs.iter().filter(|input| **input == Some("-")).count();
        if piped + usize::from(self.file == Some(Source::StandardInput)) > 1 {
            return Err(Failure::Usage(
                "standard input can be only one of the documents.".to_owned(),
            ));
        }
        let payload = match &self.payload_json {
            Some(json) => document::value_of(json)?,
            None => document::string(self.message.as_deref().unwrap_or_default())?,
        };
        let provider_output = self.provider_output.as_deref();
        Ok(DryRunPipeline {
            tenant_id: self.tenant.clone(),
            policy_id: Some(self.policy.clone()),
            policy: self.file.as_ref().map(unsaved).transpose()?,
            payload,
            message_type: Some(self.message_type.clone()),
            metadata: as_fields(&self.metadata),
            context: detail::in_context(&self.context, self.detail),
            timeout_ms: self.timeout_ms,
            call_extensions: self.call_extensions,
            provider_output: provider_output.map(document::value_of).transpose()?,
        })
    }
}

/// A document from a file. Its mistakes are listed here, where lines and columns are known.
fn unsaved(source: &Source) -> Result<Box<RawValue>, Failure> {
    let file = File::read(source)?;
    serde_json::from_str(file.without_mistakes()?)
        .map_err(|error| Failure::Usage(format!("{} is not JSON: {error}.", source.name())))
}

#[cfg(test)]
mod tests;
