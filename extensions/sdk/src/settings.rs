//! Settings that every extension has: where NATS is, which subject to serve, how much work to take
//! at a time.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use beamline_contract::escape;
use beamline_contract::record::Kind;
use beamline_contract::subject;
use clap::{Args, Parser, ValueEnum};

use crate::start_error::StartError;

/// Flags and environment variables of an extension. A program with flags of its own flattens this
/// into them:
///
/// ```
/// #[derive(clap::Parser)]
/// struct Flags {
///     #[command(flatten)]
///     settings: beamline_extension::Settings,
///     #[arg(long, default_value_t = 0)]
///     latency_ms: u64,
/// }
/// ```
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// NATS server, or several separated by commas
    #[arg(long, env = "NATS_URL", default_value = "nats://127.0.0.1:4222")]
    pub nats_url: String,
    /// First token or tokens of every subject
    #[arg(long, env = "BEAMLINE_SUBJECT_PREFIX", default_value = "beamline")]
    pub subject_prefix: String,
    /// Last token of the subject: which version of the extension this process is
    #[arg(long, env = "BEAMLINE_EXTENSION_VERSION", default_value = "v1")]
    pub version_tag: String,
    /// Serve this subject instead of {prefix}.ext.{stage}.{id}.{version}; the first extension does
    #[arg(long, env = "BEAMLINE_EXTENSION_SUBJECT")]
    pub subject: Option<String>,
    /// Processes of one queue group share the work [default: the extension's id]
    #[arg(long, env = "BEAMLINE_QUEUE_GROUP")]
    pub queue_group: Option<String>,
    /// NATS credentials file
    #[arg(long, env = "NATS_CREDS")]
    pub creds_file: Option<PathBuf>,
    /// User to log in with, unless the address names one
    #[arg(long, env = "NATS_USER")]
    pub user: Option<String>,
    /// Password of that user; read again at each connection when it is in a file
    #[arg(long, env = "NATS_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// File that holds the password instead
    #[arg(long, env = "NATS_PASSWORD_FILE", conflicts_with = "password")]
    pub password_file: Option<PathBuf>,
    /// First token of its inboxes, where permissions name one [default: _INBOX]
    #[arg(long, env = "NATS_INBOX_PREFIX")]
    pub inbox_prefix: Option<String>,
    /// Calls served at the same time; one more is answered "overloaded"
    #[arg(long, env = "BEAMLINE_MAX_IN_FLIGHT", default_value = "256")]
    pub max_in_flight: NonZeroUsize,
    /// How log lines look; auto is human on a terminal and JSON elsewhere
    #[arg(long, env = "BEAMLINE_LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Auto,
    Json,
    Human,
}

/// The command line of a program that has no flags of its own.
#[derive(Debug, Parser)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) settings: Settings,
}

impl Default for Settings {
    /// The documented defaults, whatever the environment says.
    fn default() -> Self {
        Self {
            nats_url: "nats://127.0.0.1:4222".to_owned(),
            subject_prefix: "beamline".to_owned(),
            version_tag: "v1".to_owned(),
            subject: None,
            queue_group: None,
            creds_file: None,
            user: None,
            password: None,
            password_file: None,
            inbox_prefix: None,
            max_in_flight: NonZeroUsize::MIN.saturating_add(255),
            log_format: LogFormat::Auto,
        }
    }
}

impl Settings {
    /// The defaults with another server, for tests and for programs that embed an extension.
    pub fn for_url(nats_url: impl Into<String>) -> Self {
        Self {
            nats_url: nats_url.into(),
            ..Self::default()
        }
    }

    /// The subject that an extension with these settings serves.
    ///
    /// # Errors
    /// When a part is not a plain NATS token: a wildcard would receive other extensions' calls, and
    /// an empty token makes a subject that nobody can reach.
    pub fn subject_for(&self, kind: Kind, id: &str) -> Result<String, StartError> {
        check_token("extension id", id)?;
        check_token("version tag", &self.version_tag)?;
        let subject = match &self.subject {
            Some(subject) => subject.clone(),
            None => subject::extension(&self.subject_prefix, kind, id, &self.version_tag),
        };
        for token in subject.split('.') {
            check_token("subject token", token)?;
        }
        Ok(subject)
    }

    pub(crate) fn check_inbox_prefix(prefix: &str) -> Result<(), StartError> {
        prefix
            .split('.')
            .try_for_each(|token| check_token("inbox prefix", token))
    }

    /// The name of a program is one of a NATS service.
    pub(crate) fn check_name(name: &str) -> Result<(), StartError> {
        check_token("program name", name)
    }

    /// The queue group that an extension with these settings joins.
    ///
    /// # Errors
    /// When the configured group is not a plain NATS token.
    pub fn queue_group_for(&self, id: &str) -> Result<String, StartError> {
        let group = self.queue_group.clone().unwrap_or_else(|| id.to_owned());
        check_token("queue group", &group)?;
        Ok(group)
    }
}

fn check_token(what: &'static str, token: &str) -> Result<(), StartError> {
    if (1..=64).contains(&token.len()) && token.chars().all(is_plain) {
        return Ok(());
    }
    Err(StartError::InvalidName {
        what,
        name: escape::line(token).chars().take(64).collect(),
    })
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_follow_the_contract() {
        let settings = Settings::default();
        for (kind, subject) in [
            (Kind::Pre, "beamline.ext.pre.x.v1"),
            (Kind::Validator, "beamline.ext.validate.x.v1"),
            (Kind::Post, "beamline.ext.post.x.v1"),
            (Kind::Provider, "beamline.provider.x.v1"),
        ] {
            assert_eq!(settings.subject_for(kind, "x").unwrap(), subject);
        }
    }

    #[test]
    fn an_own_subject_wins() {
        let settings = Settings {
            subject: Some("beamline.ext.pre.x.canary".to_owned()),
            ..Settings::default()
        };
        assert_eq!(
            settings.subject_for(Kind::Pre, "x").unwrap(),
            "beamline.ext.pre.x.canary"
        );
    }

    #[test]
    fn wildcards_and_empty_tokens_are_refused() {
        for id in ["", "*", ">", "a.b", "a b", "é", "a\r\n"] {
            assert!(
                Settings::default().subject_for(Kind::Pre, id).is_err(),
                "{id:?}"
            );
        }
        for subject in ["beamline.ext.>", "a..b", ".a", "a."] {
            let settings = Settings {
                subject: Some(subject.to_owned()),
                ..Settings::default()
            };
            assert!(settings.subject_for(Kind::Pre, "x").is_err(), "{subject:?}");
        }
    }

    #[test]
    fn a_version_is_one_token() {
        let settings = Settings {
            version_tag: "v1.2".to_owned(),
            ..Settings::default()
        };
        assert!(settings.subject_for(Kind::Pre, "x").is_err());
    }

    #[test]
    fn flags_and_defaults_agree() {
        let parsed = CommandLine::try_parse_from(["extension", "--nats-url", "nats://h:1"])
            .unwrap()
            .settings;
        assert_eq!(parsed.nats_url, "nats://h:1");
        assert_eq!(parsed.max_in_flight, Settings::default().max_in_flight);
        assert!(CommandLine::try_parse_from(["extension", "--max-in-flight", "0"]).is_err());
    }
}
