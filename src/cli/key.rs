//! `key`: who may administrate, and what. A key is shown once, when it is made.

use std::time::{Duration, SystemTime};

use beamline_contract::admin::{
    CreateKey, KeyCreated, ListKeys, ReplacedKey, RevokeKey, RotateKey, ShownKey,
};
use clap::{ArgGroup, Args, Subcommand};
use humantime::{format_rfc3339_seconds, parse_duration, parse_rfc3339};

use super::client::Client;
use super::view::{keys, text};
use super::{Console, Failure, milliseconds};
use crate::config::Config;

/// What can be done with keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Make a key, and show it this once
    Create(CreateArgs),
    /// List keys
    List,
    /// Make a key in the place of another one, which holds for some time still
    Rotate {
        id: String,
        /// How long the old key still holds, at most 90d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = overlap)]
        overlap: Duration,
        /// When the new key ends: a time from now (90d), or a moment (2027-01-31T12:00:00Z)
        #[arg(long, value_name = "WHEN", value_parser = moment)]
        expires: Option<SystemTime>,
    },
    /// Let a key open nothing any more, at once
    Revoke { id: String },
}

/// A new key.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("kind").required(true).args(["role", "edge"]))]
pub struct CreateArgs {
    /// What it may do: viewer, operator, editor, admin or auditor
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// A key for the OpenAI edge, which needs a tenant
    #[arg(long, requires = "tenant")]
    edge: bool,
    /// The only tenant whose policies it sees and writes
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Whose it is, or what it is for
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// When it ends: a time from now (90d), or a moment (2027-01-31T12:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    expires: Option<SystemTime>,
}

pub(super) async fn run(
    config: &Config,
    command: KeyCommand,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let client = Client::connect(config, timeout).await?;
    match command {
        KeyCommand::Create(args) => create(&client, args, console).await,
        KeyCommand::List => {
            let answer = client.admin(&ListKeys {}).await?;
            console.answer(answer.raw(), || Ok(keys::list(&answer.read()?.keys)))
        }
        KeyCommand::Rotate {
            id,
            overlap,
            expires,
        } => {
            let question = RotateKey {
                id,
                overlap_ms: Some(milliseconds(overlap)),
                expires_at: expires.map(written),
            };
            let answer = client.admin(&question).await?;
            console.answer(answer.raw(), || Ok(created(&answer.read()?)))
        }
        KeyCommand::Revoke { id } => {
            let answer = client.admin(&RevokeKey { id }).await?;
            console.answer(answer.raw(), || {
                let revoked = answer.read()?;
                let done = format!(
                    "key '{}' revoked at revision {}",
                    revoked.id, revoked.revision
                );
                Ok(text::plain(&done))
            })
        }
    }
}

async fn create(client: &Client, args: CreateArgs, console: Console) -> Result<(), Failure> {
    let question = CreateKey {
        role: args.role,
        edge: args.edge,
        tenant_id: args.tenant,
        name: args.name,
        expires_at: args.expires.map(written),
    };
    let answer = client.admin(&question).await?;
    console.answer(answer.raw(), || Ok(created(&answer.read()?)))
}

/// The key stands on a line of its own, to be copied.
fn created(answer: &KeyCreated) -> String {
    let ShownKey { id, expires_at, .. } = &answer.shown;
    let mut lines = vec![
        format!("  {}", text::plain(&answer.key)),
        String::new(),
        text::plain(&format!(
            "This is key '{id}', and it is shown this once. Keep it in a file that only you can \
             read, and name that in admin.api_key_file (BEAMLINE__ADMIN__API_KEY_FILE)."
        )),
    ];
    if let Some(end) = expires_at {
        lines.push(text::plain(&format!("It holds until {end}.")));
    }
    if let Some(ReplacedKey { id, expires_at }) = &answer.replaces {
        let until = format!("It comes in the place of '{id}', which holds until {expires_at}.");
        lines.push(text::plain(&until));
    }
    lines.join("\n")
}

fn written(time: SystemTime) -> String {
    format_rfc3339_seconds(time).to_string()
}

fn overlap(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| format!("{error}; write it as 30m, 24h or 7d"))
}

fn moment(text: &str) -> Result<SystemTime, String> {
    let span = parse_duration(text).ok();
    let from_now = span.and_then(|span| SystemTime::now().checked_add(span));
    from_now
        .or_else(|| parse_rfc3339(text).ok())
        .filter(|time| *time < SystemTime::UNIX_EPOCH + LAST)
        .ok_or_else(|| "write it as 90d, or as 2027-01-31T12:00:00Z".to_owned())
}

/// Of all moments that can be written.
const LAST: Duration = Duration::from_secs(253_402_300_799);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_from_now_or_a_moment() {
        let soon = moment("1h").unwrap();
        assert!(soon > SystemTime::now() + Duration::from_secs(3_500));
        assert_eq!(
            moment("2027-01-31T12:00:00Z").map(written),
            Ok("2027-01-31T12:00:00Z".to_owned())
        );
        for nonsense in ["", "soon", "2027-01-31", "99999999y", "-1h"] {
            assert!(moment(nonsense).is_err(), "{nonsense}");
        }
    }
}
