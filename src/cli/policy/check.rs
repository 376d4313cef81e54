//! `policy check`: every mistake of a document with its place, or what the policy does.

use std::time::Duration;

use beamline_contract::policy::Form;
use beamline_domain::document::Located;
use beamline_domain::policy::{Checked, Policy};
use clap::Args;
use serde::Serialize;

use super::source::Source;
use super::{Client, Console, Failure};
use crate::cli::RefusedAnswer;
use crate::cli::view::{policies, text};
use crate::config::Config;

mod against;

use against::Target;

/// What `policy check` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Documents, or - for standard input
    #[arg(required = true, value_name = "FILE", value_parser = Source::local)]
    files: Vec<Source>,
    /// Print the document in its canonical form instead of a summary
    #[arg(long)]
    canonical: bool,
    /// Also ask the running router whether it would save them as this policy; nothing is saved
    #[arg(long, value_name = "TENANT/POLICY", value_parser = Target::parse)]
    against: Option<Target>,
}

pub(super) async fn run(
    load: impl Fn() -> Result<Config, Failure>,
    args: &CheckArgs,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    if args.canonical && args.files.len() > 1 {
        return Err(Failure::Usage(
            "--canonical prints one document. Give it one file.".to_owned(),
        ));
    }
    let mut files = Vec::with_capacity(args.files.len());
    for source in &args.files {
        files.push(File::read(source)?);
    }
    if let Some(target) = &args.against {
        let client = Client::connect(&load()?, timeout).await?;
        for file in files.iter_mut().filter(|file| file.checked.result.is_ok()) {
            target.ask(&client, file).await?;
        }
    }
    finish(args, &files, console)
}

fn finish(args: &CheckArgs, files: &[File], console: Console) -> Result<(), Failure> {
    let wrong: Vec<&File> = files
        .iter()
        .filter(|file| file.checked.result.is_err())
        .collect();
    match (files, wrong.is_empty()) {
        ([file], true) if args.canonical => {
            let policy = file.checked.result.as_ref().ok();
            console.print_json(&policy.map(Policy::to_document).unwrap_or_default())
        }
        (_, true) => console.answer(&document(files, None), || Ok(summaries(files))),
        (_, false) if console.is_json() => Err(in_json(files, &wrong)),
        (_, false) => {
            if wrong.len() < files.len() {
                console.print(&summaries(files))?;
            }
            Err(Failure::Failed(mistakes(files, &wrong)))
        }
    }
}

/// One document and what came of it.
pub(super) struct File {
    name: String,
    text: String,
    checked: Checked,
}

impl File {
    pub(super) fn read(source: &Source) -> Result<Self, Failure> {
        let text = source.read()?.unwrap_or_default();
        Ok(Self {
            name: source.name(),
            checked: Policy::check(&text),
            text,
        })
    }

    /// The text, or every mistake in it.
    pub(super) fn without_mistakes(&self) -> Result<&str, Failure> {
        if self.checked.result.is_ok() {
            return Ok(&self.text);
        }
        let mistakes = mistakes(std::slice::from_ref(self), &[self]);
        Err(Failure::Failed(mistakes))
    }

    fn mistakes(&self) -> &[Located] {
        self.checked
            .result
            .as_ref()
            .err()
            .map_or(&[], Vec::as_slice)
    }

    /// A line for each, in the way that editors and terminals make links of.
    fn lines(&self, found: &[Located], kind: &str) -> Vec<String> {
        let line = |Located { position, mistake }: &Located| {
            let place = format!("{}:{}:{}", self.name, position.line, position.column);
            text::plain(&format!("{place}: {kind}{mistake}"))
        };
        found.iter().map(line).collect()
    }

    /// What the policy does, when the document is one.
    fn summary(&self) -> Option<String> {
        let policy = self.checked.result.as_ref().ok()?;
        Some(policies::summary(policy, self.checked.form))
    }
}

/// A failure whose document has the same shape as that of a success.
fn in_json(files: &[File], wrong: &[&File]) -> Failure {
    let error = serde_json::json!({"code": "invalid_policy", "message": heading(files, wrong)});
    let document = document(files, Some(error));
    RefusedAnswer::in_answer(&document)
        .map_or_else(|| Failure::Failed(heading(files, wrong)), Failure::from)
}

/// `{"ok", "file", "form", "mistakes"}` for one file; more are in a list `files`.
fn document(files: &[File], error: Option<serde_json::Value>) -> String {
    #[derive(Serialize)]
    struct Entry<'a> {
        ok: bool,
        file: &'a str,
        form: Option<Form>,
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
        mistakes: &'a [Located],
        #[serde(skip_serializing_if = "<[Located]>::is_empty")]
        warnings: &'a [Located],
    }
    #[derive(Serialize)]
    struct Answer<T> {
        #[serde(flatten)]
        answer: T,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<serde_json::Value>,
    }
    let mut entries = Vec::with_capacity(files.len());
    for file in files {
        entries.push(Entry {
            ok: file.checked.result.is_ok(),
            file: &file.name,
            form: file.checked.form,
            summary: file.summary(),
            mistakes: file.mistakes(),
            warnings: &file.checked.warnings,
        });
    }
    let json = if entries.len() == 1 {
        serde_json::to_string(&Answer {
            answer: entries.pop(),
            error,
        })
    } else {
        let ok = error.is_none();
        serde_json::to_string(&Answer {
            answer: serde_json::json!({"ok": ok, "files": entries}),
            error,
        })
    };
    json.unwrap_or_default()
}

fn heading(files: &[File], wrong: &[&File]) -> String {
    let number = wrong.iter().map(|file| file.mistakes().len()).sum();
    let place = match (files, wrong) {
        ([file], _) => file.name.clone(),
        (_, wrong) => format!("{} of {} files", wrong.len(), files.len()),
    };
    format!("{} in {place}", text::count(number, "mistake"))
}

fn mistakes(files: &[File], wrong: &[&File]) -> String {
    let mut lines = vec![format!("{}:", heading(files, wrong))];
    for file in wrong {
        lines.extend(file.lines(file.mistakes(), ""));
    }
    lines.join("\n")
}

fn summaries(files: &[File]) -> String {
    let mut lines = Vec::with_capacity(files.len());
    for file in files {
        let summary = file.summary();
        lines.extend(summary.map(|summary| text::plain(&format!("{}: ok; {summary}", file.name))));
        lines.extend(file.lines(&file.checked.warnings, "warning: "));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> File {
        File {
            name: name.to_owned(),
            text: text.to_owned(),
            checked: Policy::check(text),
        }
    }

    #[test]
    fn a_good_policy_is_summed_up_on_one_line() {
        let steps = r#"{"steps": [{"action": "extension_pre", "extension_id": "p"}, {"action": "select_provider", "provider_id": "a", "weight": 3},
            {"action": "select_provider", "provider_id": "b"}], "fallback": ["c"], "sticky": {"ttl": "1h30m"}}"#;
        let files = [
            file("a.json", steps),
            file("stdin", r#"{"providers": ["a", "b"]}"#),
            file("c", r#"{"weights": {"a": 1}}"#),
            file("d", r#"{"weights": {"a": 0}}"#),
        ];
        let lines = summaries(&files);
        let want = "\
a.json: ok; step form; 1 pre-processor; 2 providers by weight: a 75.0%, b 25.0%; 1 fallback rule; sticky by session_id for 1h 30m
stdin: ok; canonical form with a list of names; no extensions; 2 providers in priority order: a, b; no fallbacks; not sticky
c: ok; older form with a map of weights; no extensions; provider a; no fallbacks; not sticky
d: ok; older form with a map of weights; no extensions; no provider takes traffic: every weight is 0; no fallbacks; not sticky";
        assert_eq!(lines, want);
    }

    #[test]
    fn what_is_probably_not_meant_is_warned_of() {
        let older = "{\n  \"weights\": {\"a\": 1},\n  \"escalate_on\": [\"timeout\"]\n}";
        let lines = summaries(&[file("a.json", older)]);
        let warning = lines.lines().nth(1).unwrap_or_default();
        assert!(
            warning.starts_with("a.json:3:18: warning: /escalate_on: is kept and has no effect"),
            "{lines}"
        );
        let json = document(&[file("a.json", older)], None);
        assert!(json.contains(r#""warnings":[{"line":3"#), "{json}");
    }

    #[test]
    fn every_mistake_has_its_line() {
        let files = [
            file("a.json", "{\n  \"providers\": [\"A\"],\n  \"pst\": []\n}"),
            file("b.json", "{"),
            file("c", "{\"providers\": [\"a\"]}"),
        ];
        let wrong: Vec<&File> = files.iter().take(2).collect();
        let text = mistakes(&files, &wrong);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines.first(), Some(&"3 mistakes in 2 of 3 files:"));
        assert!(
            text.contains("\na.json:2:17: /providers/0: must be 1 to 64"),
            "{text}"
        );
        assert!(
            text.contains("\na.json:3:3: /pst: is not a known key; did you mean post?"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "\nb.json:1:1: (document): is not valid JSON: EOF while parsing an object"
            ),
            "{text}"
        );
    }

    #[test]
    fn scripts_get_one_shape_for_good_and_bad() {
        let value = |files: &[File], error| {
            serde_json::from_str::<serde_json::Value>(&document(files, error)).expect("JSON")
        };
        let good = value(&[file("a", r#"{"providers": ["a"]}"#)], None);
        assert_eq!(
            (&good["ok"], &good["file"], &good["form"]),
            (&true.into(), &"a".into(), &"names".into())
        );
        assert_eq!(good["mistakes"], serde_json::json!([]));
        let bad = [file("b", "{\"weights\": {}}"), file("c", "7")];
        let wrong: Vec<&File> = bad.iter().collect();
        let failure = in_json(&bad, &wrong);
        let document: serde_json::Value = serde_json::from_str(&failure.document()).expect("JSON");
        assert_eq!((failure.exit_code(), &document["ok"]), (1, &false.into()));
        let mistake = &document["files"][0]["mistakes"][0];
        assert_eq!(
            (&mistake["line"], &mistake["column"], &mistake["pointer"]),
            (&1.into(), &13.into(), &"/weights".into())
        );
        assert_eq!(document["files"][1]["form"], serde_json::Value::Null);
        assert_eq!(
            failure.sentence(),
            "error: 2 mistakes in 2 of 2 files (invalid_policy)"
        );
    }
}
