//! `policy diff`: what changes from one document to another, in plain words.

use std::time::Duration;

use beamline_contract::policy::Form;
use beamline_domain::policy::Policy;
use beamline_domain::policy::diff::{Change, diff};
use clap::Args;
use serde::Serialize;

use super::source::Source;
use super::{Client, Console, Failure, stored};
use crate::cli::view::text;
use crate::config::Config;

/// What `policy diff` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// The document as it was: a file, - for standard input, or router:TENANT/POLICY for the one a
    /// running router has
    #[arg(value_name = "OLD", value_parser = Source::parse)]
    old: Source,
    /// The document as it is to be, named in the same way
    #[arg(value_name = "NEW", value_parser = Source::parse)]
    new: Source,
}

pub(super) async fn run(
    load: impl Fn() -> Result<Config, Failure>,
    args: &DiffArgs,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let DiffArgs { old, new } = args;
    if (old, new) == (&Source::StandardInput, &Source::StandardInput) {
        return Err(Failure::Usage(
            "standard input can be only one of the two documents.".to_owned(),
        ));
    }
    // Files first: a person may take longer than a connection.
    let old_text = old.read()?;
    let new_text = new.read()?;
    let connected = old_text.is_none() || new_text.is_none();
    let client = if connected {
        Some(Client::connect(&load()?, timeout).await?)
    } else {
        None
    };
    let (old_form, old) = parse(old, fetch(old, old_text, client.as_ref()).await?)?;
    let (new_form, new) = parse(new, fetch(new, new_text, client.as_ref()).await?)?;
    let changes = diff(&old, &new);
    let document = serde_json::to_string(&Answer {
        ok: true,
        changes: &changes,
    })
    .unwrap_or_default();
    console.answer(&document, || Ok(sentences(&changes, old_form, new_form)))
}

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    changes: &'a [Change],
}

async fn fetch(
    source: &Source,
    text: Option<String>,
    client: Option<&Client>,
) -> Result<String, Failure> {
    match (source, text, client) {
        (Source::Router { tenant, policy }, None, Some(client)) => {
            let stored = stored(client, tenant.clone(), policy.clone()).await?;
            Ok(stored.policy.get().to_owned())
        }
        (_, text, _) => Ok(text.unwrap_or_default()),
    }
}

fn parse(source: &Source, text: String) -> Result<(Form, Policy), Failure> {
    let checked = Policy::check(&text);
    match (checked.form, checked.result) {
        (Some(form), Ok(policy)) => Ok((form, policy)),
        (_, result) => Err(Failure::Failed(not_a_policy(
            source,
            result.err().unwrap_or_default().len(),
        ))),
    }
}

fn not_a_policy(source: &Source, mistakes: usize) -> String {
    let name = source.name();
    let number = text::count(mistakes, "mistake");
    let check = match source {
        Source::File(file) => format!("beamline-router policy check {file}"),
        Source::StandardInput => "beamline-router policy check -".to_owned(),
        Source::Router { tenant, policy } => {
            format!("beamline-router policy get {tenant} {policy} | beamline-router policy check -")
        }
    };
    format!("{name} has {number}, so there is nothing to compare. `{check}` lists them.")
}

fn sentences(changes: &[Change], old: Form, new: Form) -> String {
    if changes.is_empty() && old != new {
        return format!("no changes: both mean the same ({old}, {new})");
    }
    if changes.is_empty() {
        return "no changes: both mean the same".to_owned();
    }
    changes
        .iter()
        .map(|change| text::plain(&change.sentence))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_in_words() {
        assert_eq!(
            sentences(&[], Form::Steps, Form::Steps),
            "no changes: both mean the same"
        );
        let words = "no changes: both mean the same (step form, canonical form)";
        assert_eq!(sentences(&[], Form::Steps, Form::Canonical), words);
    }

    #[test]
    fn a_document_with_mistakes_says_how_to_see_them() {
        let failure =
            parse(&Source::File("new.json".into()), "{}".to_owned()).expect_err("no providers");
        let want = "error: new.json has 1 mistake, so there is nothing to compare. `beamline-router policy check new.json` lists them.";
        assert_eq!(
            (failure.sentence().as_str(), failure.exit_code()),
            (want, 1)
        );
    }
}
