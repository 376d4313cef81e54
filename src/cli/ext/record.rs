//! The record of one extension, put together from a file and flags.

use beamline_contract::fields::Fields;
use beamline_contract::record::Kind;
use clap::Args;
use serde_json::value::to_raw_value;

use super::kinds;
use crate::cli::{Failure, document};

/// What `ext create` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// The record as JSON, or - for standard input; may hold versions and instances
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,

    /// Id of the new extension
    #[arg(long, value_name = "ID", required_unless_present = "file")]
    id: Option<String>,

    /// What it does
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds(), required_unless_present = "file")]
    kind: Option<Kind>,

    #[command(flatten)]
    fields: FieldArgs,
}

/// What `ext update` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    /// Id of the extension
    id: String,

    /// The parts to change as JSON, or - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,

    /// What it does
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds())]
    kind: Option<Kind>,

    #[command(flatten)]
    fields: FieldArgs,
}

/// The parts of a record that both can set.
#[derive(Debug, Clone, Args)]
struct FieldArgs {
    /// NATS subject of the service
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,

    /// The provider whose program this one is another face of, or `none`
    #[arg(long, value_name = "ID", value_parser = reference)]
    subject_of: Option<Reference>,

    /// The extension of the same program whose notes it gets, or `none`
    #[arg(long, value_name = "ID", value_parser = reference)]
    notes_of: Option<Reference>,

    /// How long one call may take
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,

    /// How often a failed call is repeated
    #[arg(long, value_name = "TIMES")]
    retry: Option<u32>,

    /// How many calls of it may run at a time, 1 to 10000; `default` takes back what was set
    #[arg(long, value_name = "CALLS", value_parser = ceiling)]
    max_in_flight: Option<Ceiling>,

    /// How many bytes a call of it may have; `default` takes back what was set
    #[arg(long, value_name = "BYTES", value_parser = bound)]
    max_payload_bytes: Option<Bound>,

    /// How much longer one call may take for each MiB of it; `default` takes back what was set
    #[arg(long, value_name = "MS", value_parser = bound)]
    timeout_per_mib_ms: Option<Bound>,

    /// Version of the service
    #[arg(long = "version", value_name = "VERSION")]
    version_name: Option<String>,

    /// What the service gets as its configuration: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    config_json: Option<String>,

    /// Register it, but do not let policies use it
    #[arg(long)]
    disabled: bool,
}

/// The id of another extension; `None` takes back what was set.
#[derive(Debug, Clone)]
struct Reference(Option<String>);

#[expect(clippy::unnecessary_wraps, reason = "clap's parsers may fail")]
fn reference(word: &str) -> Result<Reference, String> {
    Ok(Reference((word != "none").then(|| word.to_owned())))
}

/// Calls that may run at a time; `None` is what the router grants every extension.
#[derive(Debug, Clone, Copy)]
struct Ceiling(Option<u32>);

fn ceiling(word: &str) -> Result<Ceiling, String> {
    if word == "default" {
        return Ok(Ceiling(None));
    }
    let calls = word
        .parse()
        .ok()
        .filter(|calls| (1..=10_000).contains(calls));
    calls
        .map(|calls| Ceiling(Some(calls)))
        .ok_or_else(|| "give a number from 1 to 10000, or `default`".to_owned())
}

/// What a router says of a record when it is read.
const REVISION: &str = "revision";

/// A number that the router checks; `None` takes back what was set.
#[derive(Debug, Clone, Copy)]
struct Bound(Option<u64>);

fn bound(word: &str) -> Result<Bound, String> {
    if word == "default" {
        return Ok(Bound(None));
    }
    let number = word.parse().ok();
    number
        .map(|number| Bound(Some(number)))
        .ok_or_else(|| "give a whole number, or `default`".to_owned())
}

impl CreateArgs {
    pub(super) fn record(&self) -> Result<Fields, Failure> {
        let mut record = from_file(self.file.as_deref())?;
        set(&mut record, "id", self.id.as_ref())?;
        set(&mut record, "type", self.kind.map(Kind::as_str))?;
        self.fields.lay_over(&mut record)?;
        Ok(record)
    }
}

impl UpdateArgs {
    pub(super) fn record(&self) -> Result<Fields, Failure> {
        let mut record = from_file(self.file.as_deref())?;
        let id_in_file = record.get("id").map(|id| id.get().to_owned());
        set(&mut record, "id", Some(&self.id))?;
        if id_in_file.is_some_and(|id| {
            record
                .get("id")
                .is_some_and(|argument| argument.get() != id)
        }) {
            return Err(Failure::Usage(format!(
                "the file is about another extension than '{}'. Correct one of the two ids.",
                self.id
            )));
        }
        set(&mut record, "type", self.kind.map(Kind::as_str))?;
        self.fields.lay_over(&mut record)?;
        if record.len() == 1 {
            return Err(Failure::Usage(
                "nothing to change: give -f FILE, or a flag such as --timeout-ms.".to_owned(),
            ));
        }
        Ok(record)
    }
}

impl FieldArgs {
    fn lay_over(&self, record: &mut Fields) -> Result<(), Failure> {
        set(record, "subject", self.subject.as_ref())?;
        let id = |reference: &Option<Reference>| reference.clone().map(|Reference(id)| id);
        set(record, "subject_of", id(&self.subject_of))?;
        set(record, "notes_of", id(&self.notes_of))?;
        set(record, "timeout_ms", self.timeout_ms)?;
        set(record, "retry", self.retry)?;
        set(
            record,
            "max_in_flight",
            self.max_in_flight.map(|Ceiling(calls)| calls),
        )?;
        let number = |bound: Option<Bound>| bound.map(|Bound(number)| number);
        set(record, "max_payload_bytes", number(self.max_payload_bytes))?;
        set(
            record,
            "timeout_per_mib_ms",
            number(self.timeout_per_mib_ms),
        )?;
        set(record, "version", self.version_name.as_ref())?;
        set(record, "enabled", self.disabled.then_some(false))?;
        if let Some(config) = &self.config_json {
            record.set("config", document::value_of(config)?);
        }
        Ok(())
    }
}

/// What is written of a record, and the revision at which it was read, if it was.
pub(super) fn seen(record: &Fields) -> (Fields, Option<u64>) {
    let revision = record.get(REVISION);
    let seen = revision.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let written = record.iter().filter(|(name, _)| *name != REVISION);
    let written = written.map(|(name, raw)| (name.to_owned(), raw.to_owned()));
    (written.collect(), seen)
}

/// The id of a record for a sentence; the router refuses a record without one.
pub(super) fn id_of(record: &Fields) -> String {
    record.text("id").unwrap_or_else(|| "?".to_owned())
}

fn from_file(file: Option<&str>) -> Result<Fields, Failure> {
    file.map_or_else(|| Ok(Fields::default()), document::object_in)
}

pub(super) fn set(
    record: &mut Fields,
    name: &str,
    value: Option<impl serde::Serialize>,
) -> Result<(), Failure> {
    if let Some(value) = value {
        let value = to_raw_value(&value)
            .map_err(|error| Failure::Failed(format!("cannot write '{name}': {error}.")))?;
        record.set(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::super::ExtCommand;
    use super::*;
    use crate::cli::{Cli, Command};

    fn record(arguments: &[&str]) -> Result<String, Failure> {
        let words = ["beamline-router", "ext"]
            .into_iter()
            .chain(arguments.iter().copied());
        let command = Cli::try_parse_from(words).expect("valid arguments").command;
        let record = if let Command::Ext(ExtCommand::Create(args)) = command {
            args.record()?
        } else if let Command::Ext(ExtCommand::Update(args)) = command {
            args.record()?
        } else {
            panic!("neither create nor update: {command:?}")
        };
        Ok(serde_json::to_string(&record).expect("JSON"))
    }

    #[test]
    fn faces_are_named_and_taken_back() {
        let record_of = |flags: &[&str]| {
            let words: Vec<&str> = ["update", "x"].iter().chain(flags).copied().collect();
            record(&words).expect("a record")
        };
        assert_eq!(
            record_of(&["--subject-of", "openai"]),
            r#"{"id":"x","subject_of":"openai"}"#
        );
        assert_eq!(
            record_of(&["--notes-of", "none"]),
            r#"{"id":"x","notes_of":null}"#
        );
    }

    #[test]
    fn what_large_messages_get_can_be_set_and_taken_back() {
        let record_of = |words: &[&str]| {
            let update = [&["update", "upper"], words].concat();
            record(&update).expect("a record")
        };
        assert_eq!(
            record_of(&["--max-payload-bytes", "9", "--timeout-per-mib-ms", "8"]),
            r#"{"id":"upper","max_payload_bytes":9,"timeout_per_mib_ms":8}"#
        );
        assert_eq!(
            record_of(&["--max-payload-bytes", "default"]),
            r#"{"id":"upper","max_payload_bytes":null}"#
        );
    }

    #[test]
    fn flags_make_a_record() {
        let made = record(&[
            "create",
            "--id",
            "upper",
            "--type",
            "pre",
            "--subject",
            "beamline.ext.pre.upper.v1",
            "--timeout-ms",
            "80",
            "--retry",
            "1",
            "--version",
            "v1",
            "--config-json",
            r#"{"limit":1.50}"#,
            "--disabled",
        ]);
        assert_eq!(
            made.expect("a record"),
            r#"{"config":{"limit":1.50},"enabled":false,"id":"upper","retry":1,"subject":"beamline.ext.pre.upper.v1","timeout_ms":80,"type":"pre","version":"v1"}"#
        );
    }

    #[test]
    fn an_update_sends_only_what_was_given() {
        assert_eq!(
            record(&["update", "upper", "--retry", "2"]).expect("a record"),
            r#"{"id":"upper","retry":2}"#
        );
        let record_of =
            |calls| record(&["update", "upper", "--max-in-flight", calls]).expect("a record");
        assert_eq!(record_of("40"), r#"{"id":"upper","max_in_flight":40}"#);
        assert_eq!(
            record_of("default"),
            r#"{"id":"upper","max_in_flight":null}"#
        );
        for wrong in ["0", "10001", "none", "-1"] {
            let words = [
                "beamline-router",
                "ext",
                "update",
                "upper",
                "--max-in-flight",
                wrong,
            ];
            assert!(Cli::try_parse_from(words).is_err(), "{wrong}");
        }
        assert_eq!(
            record(&["update", "upper"])
                .expect_err("nothing to change")
                .exit_code(),
            2
        );
    }

    #[test]
    fn flags_win_over_the_file_and_ids_must_agree() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(br#"{"id":"upper","type":"pre","retry":1,"versions":[{"version":"v2"}]}"#)
            .expect("written");
        let path = file.path().to_str().expect("a readable path");
        let expected = r#"{"id":"upper","retry":3,"type":"pre","versions":[{"version":"v2"}]}"#;
        assert_eq!(
            record(&["create", "-f", path, "--retry", "3"]).expect("a record"),
            expected
        );
        assert_eq!(
            record(&["update", "upper", "-f", path, "--retry", "3"]).expect("a record"),
            expected
        );
        assert_eq!(
            record(&["update", "lower", "-f", path])
                .expect_err("another id")
                .exit_code(),
            2
        );
    }
}
