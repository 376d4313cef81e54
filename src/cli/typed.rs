//! What was typed, read. A mistake is a sentence; who asked for JSON gets it as a document as well,
//! also when nothing else could be read.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use super::{Cli, Console, Failure, Format};

/// The command, or what the process ends with.
pub fn read(words: &[OsString]) -> Result<Cli, ExitCode> {
    let error = match Cli::try_parse_from(words) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    let from_environment = std::env::var("BEAMLINE_OUTPUT").ok();
    if error.use_stderr() && wants_json(words, from_environment.as_deref()) {
        let failure = Failure::Usage(sentence(&error));
        return Err(Console::new(Format::Json, true).finish(Err(failure)));
    }
    if error.use_stderr() {
        error.exit();
    }
    // Help and version are answers: one that cannot be written is a failure.
    let written = error.print().and_then(|()| io::stdout().flush());
    Err(Console::new(Format::Table, true).finish(written.map_err(Failure::from)))
}

/// The last `--output` counts, and goes before the environment.
fn wants_json(words: &[OsString], from_environment: Option<&str>) -> bool {
    let words = words.iter().map(|word| word.to_string_lossy());
    let words: Vec<_> = words.take_while(|word| word != "--").collect();
    let mut named = words.iter().enumerate().filter_map(|(index, word)| {
        if word == "--output" {
            words.get(index + 1).map(AsRef::as_ref)
        } else {
            word.strip_prefix("--output=")
        }
    });
    match named.next_back() {
        Some(format) => format == "json",
        None => from_environment.is_some_and(|format| format.eq_ignore_ascii_case("json")),
    }
}

/// In one line, without the usage that follows it for people.
fn sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing. --help lists them.".to_owned();
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim);
    let lines = lines.take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    let joined = lines.join(" ");
    let sentence = joined.strip_prefix("error: ").unwrap_or(&joined);
    format!("{sentence}. See --help.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(line: &str, from_environment: Option<&str>) -> bool {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        wants_json(&words, from_environment)
    }

    #[test]
    fn json_is_asked_for_by_the_last_flag_or_the_environment() {
        assert!(wants("beamline-router --output json tre", None));
        assert!(wants("beamline-router tree --output=json --nope", None));
        assert!(wants("beamline-router tre", Some("JSON")));
        assert!(!wants("beamline-router tre --output table", Some("json")));
        assert!(!wants(
            "beamline-router tre --output json --output xml",
            None
        ));
        assert!(!wants("beamline-router request -- --output json", None));
    }

    #[test]
    fn a_mistake_is_one_line() {
        let said = |line: &str| {
            let error = Cli::try_parse_from(line.split(' ')).expect_err("a mistake");
            sentence(&error)
        };
        assert_eq!(
            said("beamline-router request hi"),
            "the following required arguments were not provided: --tenant <ID>. See --help."
        );
        let unknown = said("beamline-router polcy list");
        assert!(
            unknown.starts_with("unrecognized subcommand 'polcy'"),
            "{unknown}"
        );
        assert!(
            unknown.contains("'policy'") && !unknown.contains("Usage"),
            "{unknown}"
        );
        assert_eq!(
            said("beamline-router policy"),
            "a command is missing. --help lists them."
        );
    }
}
