//! `request`: one message through a running router, and what happened to it on the way; also to
//! those that others have sent.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use beamline_contract::request::{RequestBody, RequestMessage, VERSION};
use clap::{Args, Subcommand};
use serde_json::value::RawValue;

use super::client::Client;
use super::detail::{self, Detail};
use super::pairs::{Pair, as_fields};
use super::{Console, Failure, document, milliseconds, nearest, view};
use crate::config::Config;

mod show;
mod which;

pub(in crate::cli) use which::Which;

/// What `request` takes besides the global options.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct RequestArgs {
    #[command(subcommand)]
    command: Option<RequestCommand>,

    /// The message
    #[arg(
        required_unless_present = "payload_json",
        conflicts_with = "payload_json"
    )]
    text: Option<String>,

    /// A message that is any JSON value: the value itself, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    payload_json: Option<String>,

    /// Whose policy to use
    #[arg(long, value_name = "ID", required = true)]
    tenant: Option<String>,

    /// Which policy of the tenant
    #[arg(long, value_name = "ID", default_value = "default")]
    policy: String,

    /// Only choose a provider, do not call it
    #[arg(long)]
    decide: bool,

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

    /// Also print step by step why it went that way
    #[arg(long)]
    explain: bool,

    /// How much the answer explains, sent as detail_level in the context; the steps need detailed
    /// (as without it) or verbose
    #[arg(long, value_name = "LEVEL")]
    detail: Option<Detail>,

    /// What the router may take for the whole pipeline; --timeout unless given
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: Option<u64>,
}

/// What can be done with requests besides sending one.
#[derive(Debug, Clone, Subcommand)]
pub enum RequestCommand {
    /// Show what happened to a request
    Show(show::ShowArgs),
}

/// An answer at the last moment still has to travel: we wait this much longer than the router may
/// take.
const GRACE: Duration = Duration::from_millis(500);

pub(super) async fn run(
    config: &Config,
    args: &RequestArgs,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    if let Some(RequestCommand::Show(which)) = &args.command {
        return show::run(config, which, timeout, console).await;
    }
    let payload = args.payload()?;
    let trace_id = format!("{:032x}", fastrand::u128(1..));
    let time_allowed = args.timeout_ms.map_or(timeout, Duration::from_millis);
    let request = args.request(&payload, &trace_id, time_allowed);
    let patience = time_allowed.saturating_add(GRACE);

    let client = Client::connect(config, timeout).await?;
    let started = Instant::now();
    let answer = if args.decide {
        client.decide(&request, patience).await
    } else {
        client.route(&request, patience).await
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(Failure::Refused(refusal)) if args.explain => return Err(refusal.explained().into()),
        Err(failure) => {
            return Err(nearest::with_hint(&client, failure, args.tenant(), &args.policy).await);
        }
    };
    let round_trip = started.elapsed();
    console.answer(answer.raw(), || {
        Ok(view::request::text(
            &answer.read()?,
            &trace_id,
            round_trip,
            args.explain,
        ))
    })
}

impl RequestArgs {
    /// It is required, but for the commands.
    fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or_default()
    }

    fn payload(&self) -> Result<Box<RawValue>, Failure> {
        match (&self.text, &self.payload_json) {
            (Some(text), _) => document::string(text),
            (None, Some(json)) => document::value_of(json),
            (None, None) => Err(Failure::Usage(
                "give a message, or --payload-json.".to_owned(),
            )),
        }
    }

    fn request<'a>(
        &'a self,
        payload: &'a RawValue,
        trace_id: &'a str,
        time_allowed: Duration,
    ) -> RequestBody<'a> {
        let number = format!("{:016x}", fastrand::u64(..));
        RequestBody {
            version: VERSION.into(),
            tenant_id: Some(self.tenant().into()),
            request_id: format!("cli-{number}").into(),
            trace_id: Some(trace_id.into()),
            message: Some(RequestMessage {
                message_id: Some(format!("m-{number}").into()),
                message_type: Some((&self.message_type).into()),
                payload: Some(Cow::Borrowed(payload)),
                metadata: Cow::Owned(as_fields(&self.metadata)),
            }),
            task: None,
            policy_id: Some((&self.policy).into()),
            context: Cow::Owned(detail::in_context(&self.context, self.detail)),
            timeout_ms: Some(milliseconds(time_allowed).max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(arguments: &[&str]) -> RequestArgs {
        let words = ["beamline-router", "request", "--tenant", "demo"]
            .into_iter()
            .chain(arguments.iter().copied());
        let Command::Request(args) = Cli::try_parse_from(words).expect("valid arguments").command
        else {
            panic!("not a request: {arguments:?}")
        };
        args
    }

    fn sent(arguments: &[&str]) -> serde_json::Value {
        let args = parsed(arguments);
        let payload = args.payload().expect("a payload");
        serde_json::to_value(args.request(&payload, "abc", Duration::from_secs(5))).expect("JSON")
    }

    #[test]
    fn a_text_becomes_the_request_of_the_contract() {
        let mut sent = sent(&[
            "--context",
            "lang=en",
            "--context",
            "lang=de",
            "--metadata",
            "channel=web",
            "hello",
        ]);
        let request_id = sent["request_id"].take();
        sent["message"]["message_id"].take();
        assert!(request_id.as_str().is_some_and(|id| id.starts_with("cli-")));
        let expected = serde_json::json!({
            "version": "1", "tenant_id": "demo", "request_id": null, "trace_id": "abc", "policy_id": "default",
            "message": {"message_id": null, "message_type": "chat", "payload": "hello", "metadata": {"channel": "web"}},
            "context": {"lang": "de"}, "timeout_ms": 5000,
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn context_may_be_any_json_and_the_level_of_detail_is_sent_only_if_given() {
        let context =
            |arguments: &[&str]| sent(&[&["hello"], arguments].concat())["context"].take();
        let expected = serde_json::json!({"vip": true, "tags": ["a"], "n": "1"});
        assert_eq!(
            context(&[
                "--context",
                "vip:=true",
                "--context",
                "tags:=[\"a\"]",
                "--context",
                "n=1"
            ]),
            expected
        );
        assert_eq!(context(&["--explain"]), serde_json::Value::Null);
        assert_eq!(
            context(&["--detail", "verbose"]),
            serde_json::json!({"detail_level": "verbose"})
        );
    }

    #[test]
    fn a_json_payload_passes_through_untouched() {
        let args = parsed(&["--payload-json", r#"{"b":1.10000000000000000001,"a":[]}"#]);
        let payload = args.payload().expect("a payload");
        let body = serde_json::to_string(&args.request(&payload, "abc", Duration::from_secs(5)))
            .expect("JSON");
        assert!(
            body.contains(r#""payload":{"b":1.10000000000000000001,"a":[]}"#),
            "{body}"
        );
    }

    #[test]
    fn one_message_is_required_and_two_are_too_many() {
        let parse = |more: &[&str]| {
            let words = ["beamline-router", "request", "--tenant", "demo"]
                .into_iter()
                .chain(more.iter().copied());
            Cli::try_parse_from(words)
                .map(|_cli| ())
                .map_err(|error| error.exit_code())
        };
        assert_eq!(parse(&[]), Err(2));
        assert_eq!(parse(&["hello", "--payload-json", "1"]), Err(2));
        assert_eq!(parse(&["hello", "--timeout-ms", "0"]), Err(2));
        assert_eq!(parse(&["hello", "--context", "vip:=yes"]), Err(2));
        assert_eq!(parse(&["hello", "--detail", "chatty"]), Err(2));
        assert_eq!(parse(&["--payload-json", "1"]), Ok(()));
    }
}
