//! Why a command did not do what it was asked, as a sentence for people and an exit code for
//! scripts.

use std::io;

use beamline_contract::details::MISTAKES;

use crate::config::Mistakes;

mod refusal;

pub use refusal::RefusedAnswer;

use super::view::text;

/// The one error type of the command line: every variant is an exit code.
#[derive(Debug)]
pub enum Failure {
    /// Something went wrong that has no code of its own; exit code 1.
    Failed(String),
    /// The arguments do not fit together; exit code 2.
    Usage(String),
    /// NATS, or the router behind it, does not answer; exit code 5.
    Unreachable(String),
    /// A router stopped, and had to tell some requests to try elsewhere; exit code 3.
    Cut(String),
    /// A router stopped, and its last answers may not have reached NATS; exit code 4.
    NotFlushed(String),
    /// The router understood and refused; the exit code depends on its reason.
    Refused(Box<RefusedAnswer>),
    /// The configuration has mistakes; exit code 78.
    Configuration(Mistakes),
    /// The process gave up after too many restarts, so that the platform starts it again; exit code
    /// 70.
    GaveUp(String),
    /// Whoever read the output has gone (`| head`): nothing to say and nobody to say it to; exit
    /// code 0.
    ReaderGone,
}

impl Failure {
    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(refusal) => refusal.exit_code(),
            Self::Cut(_) => 3,
            Self::NotFlushed(_) => 4,
            Self::Unreachable(_) => 5,
            Self::GaveUp(_) => 70,
            Self::Configuration(_) => 78,
        }
    }

    /// What standard error says; empty when there is nothing to say.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::ReaderGone => String::new(),
            Self::Failed(sentence)
            | Self::Usage(sentence)
            | Self::Cut(sentence)
            | Self::NotFlushed(sentence)
            | Self::Unreachable(sentence)
            | Self::GaveUp(sentence) => {
                format!("error: {}", text::plain_block(sentence))
            }
            Self::Refused(refusal) => refusal.sentence(),
            Self::Configuration(mistakes) => configuration_sentence(mistakes),
        }
    }

    /// The same as one JSON document; a router's refusal stays word for word what the router
    /// answered.
    #[must_use]
    pub fn document(&self) -> String {
        let (code, message) = match self {
            Self::Refused(refusal) => return refusal.document(),
            Self::Configuration(mistakes) => {
                return serde_json::json!({"ok": false, "error": {"code": "bad_configuration",
                    "message": "the configuration has mistakes", "details": {MISTAKES: mistakes}}})
                .to_string();
            }
            Self::ReaderGone => ("reader_gone", ""),
            Self::Failed(message) => ("failed", message.as_str()),
            Self::Usage(message) => ("usage", message.as_str()),
            Self::Cut(message) => ("cut", message.as_str()),
            Self::NotFlushed(message) => ("not_flushed", message.as_str()),
            Self::Unreachable(message) => ("unreachable", message.as_str()),
            Self::GaveUp(message) => ("gave_up", message.as_str()),
        };
        serde_json::json!({"ok": false, "error": {"code": code, "message": message}}).to_string()
    }
}

impl From<RefusedAnswer> for Failure {
    fn from(refusal: RefusedAnswer) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::Configuration(mistakes)
    }
}

impl From<io::Error> for Failure {
    /// Writing to standard output is the only input or output whose errors arrive here without a
    /// sentence of their own.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Self::Failed(format!(
            "standard output does not take the answer: {error}. Check where it is redirected to."
        ))
    }
}

fn configuration_sentence(mistakes: &Mistakes) -> String {
    let lines: Vec<String> = mistakes
        .iter()
        .map(|mistake| format!("  {}", text::plain(&mistake.to_string())))
        .collect();
    format!(
        "error: the configuration has {}:\n{}\n`beamline-router config print` shows the effective configuration once \
         these are corrected; docs/configuration.md lists every key.",
        text::count(lines.len(), "mistake"),
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_exit_code() {
        let codes = [
            Failure::ReaderGone.exit_code(),
            Failure::Failed("no".into()).exit_code(),
            Failure::Usage("no".into()).exit_code(),
            Failure::Cut("no".into()).exit_code(),
            Failure::NotFlushed("no".into()).exit_code(),
            Failure::Unreachable("no".into()).exit_code(),
            Failure::GaveUp("no".into()).exit_code(),
        ];
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 70]);
    }

    #[test]
    fn every_mistake_of_the_configuration_is_listed() {
        let set = vec![
            ("nonsense.key".to_owned(), "1".to_owned()),
            ("router.nonsense".to_owned(), "2".to_owned()),
        ];
        let overrides = crate::config::Overrides {
            set,
            ..Default::default()
        };
        let failure =
            Failure::from(crate::config::load_from(&overrides, []).expect_err("unknown keys"));
        assert_eq!(failure.exit_code(), 78);
        let sentence = failure.sentence();
        assert!(
            sentence.starts_with("error: the configuration has 2 mistakes:\n  "),
            "{sentence}"
        );
        assert!(
            sentence.contains("nonsense.key") && sentence.contains("router.nonsense"),
            "{sentence}"
        );
        let document: serde_json::Value = serde_json::from_str(&failure.document()).expect("JSON");
        assert_eq!(
            document["error"]["details"]["mistakes"]
                .as_array()
                .map(Vec::len),
            Some(2)
        );
    }

    #[test]
    fn a_closed_pipe_is_not_a_failure_worth_a_word() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(
            (failure.exit_code(), failure.sentence()),
            (0, String::new())
        );
        assert_eq!(
            Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit_code(),
            1
        );
    }

    #[test]
    fn sentences_cannot_move_the_cursor() {
        let failure = Failure::Unreachable("no server at \u{1b}[2Jnats://x".into());
        assert_eq!(failure.sentence(), "error: no server at \\u{1b}[2Jnats://x");
    }

    #[test]
    fn scripts_get_the_code_and_the_message() {
        let document = Failure::Unreachable("nobody is there".into()).document();
        assert_eq!(
            document,
            r#"{"error":{"code":"unreachable","message":"nobody is there"},"ok":false}"#
        );
    }
}
