//! `breaker`: the circuit breakers of a running router, and what an operator decides about them for some time.

use beamline_contract::record::OperatorState;
use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::client::{Answer, Client};
use super::{Console, Failure, table, text};
use crate::config::Config;

/// What can be done with breakers.
#[derive(Debug, Clone, Subcommand)]
pub enum BreakerCommand {
    /// List the breakers of all extensions
    List {
        /// Ask all replicas, and count where they are open
        #[arg(long)]
        fleet: bool,
    },
    /// Show the breakers of one extension: state, reason, settings
    Show {
        id: String,
        /// Ask all replicas, and count where they are open
        #[arg(long)]
        fleet: bool,
    },
    /// Keep all calls from an extension
    ForceOpen(DecisionArgs),
    /// Let all calls through, whatever the breaker measures
    Disable(DecisionArgs),
    /// Let all calls through, and show what the breaker would have done
    MetricsOnly(DecisionArgs),
    /// Close the breakers of an extension, and end what an operator has decided about them
    Reset {
        id: String,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

/// A decision about the breakers of one extension.
#[derive(Debug, Clone, Args)]
pub struct DecisionArgs {
    id: String,
    /// How long it holds, at most 24h
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = super::time)]
    time: Duration,
    /// Why, for whoever finds it like this
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(
    config: &Config,
    command: BreakerCommand,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let client = Client::connect(config, timeout).await?;
    match command {
        BreakerCommand::List { fleet } => list(&client, fleet, console).await,
        BreakerCommand::Show { id, fleet } => show(&client, &id, fleet, console).await,
        BreakerCommand::ForceOpen(args) => {
            decide(&client, OperatorState::ForcedOpen, &args, console).await
        }
        BreakerCommand::Disable(args) => {
            decide(&client, OperatorState::Disabled, &args, console).await
        }
        BreakerCommand::MetricsOnly(args) => {
            decide(&client, OperatorState::MetricsOnly, &args, console).await
        }
        BreakerCommand::Reset { id, reason } => {
            let answer = client
                .admin("reset_breaker", &json!({"id": id, "reason": reason}))
                .await?;
            was_reset(&answer, &id, console)
        }
    }
}

async fn list(client: &Client, fleet: bool, console: Console) -> Result<(), Failure> {
    let answer = client
        .admin("get_circuit_breaker_states", &json!({"fleet": fleet}))
        .await?;
    let states: States = answer.read()?;
    console.answer(answer.raw(), || states.text(fleet))
}

/// With `--output json` the entry of the extension as the router wrote it.
async fn show(client: &Client, id: &str, fleet: bool, console: Console) -> Result<(), Failure> {
    let body = json!({"id": id, "fleet": fleet});
    let states: States = client
        .admin("get_circuit_breaker_states", &body)
        .await?
        .read()?;
    let entry = states
        .states
        .get(id)
        .ok_or_else(|| Failure::Failed(format!("'{id}' has just been deleted.")))?;
    console.answer(entry.get(), || {
        Ok(table::of_fields(&state_of(entry)?.fields(id)))
    })
}

async fn decide(
    client: &Client,
    state: OperatorState,
    args: &DecisionArgs,
    console: Console,
) -> Result<(), Failure> {
    let for_ms = u64::try_from(args.time.as_millis()).unwrap_or(u64::MAX);
    let body =
        json!({"id": args.id, "state": state.as_str(), "for_ms": for_ms, "reason": args.reason});
    let answer = client.admin("set_breaker", &body).await?;
    done(&answer, &args.id, console)
}

#[derive(Debug, Deserialize)]
struct Decided {
    revision: u64,
    operator: Option<Operator>,
}

fn done(answer: &Answer, id: &str, console: Console) -> Result<(), Failure> {
    let decided: Decided = answer.read()?;
    console.answer(answer.raw(), || {
        let what = match &decided.operator {
            Some(operator) => format!("{} until {}", operator.state, operator.until),
            None => "goes by what it measures".to_owned(),
        };
        Ok(text::plain(&format!(
            "breaker of '{id}' {what}, at revision {}",
            decided.revision
        )))
    })
}

#[derive(Debug, Deserialize)]
struct WasReset {
    revision: u64,
    replicas: Replicas,
}

#[derive(Debug, Deserialize)]
struct Replicas {
    answered: usize,
    closed: usize,
}

fn was_reset(answer: &Answer, id: &str, console: Console) -> Result<(), Failure> {
    let done: WasReset = answer.read()?;
    console.answer(answer.raw(), || {
        let Replicas { answered, closed } = done.replicas;
        let rest = if closed < answered {
            "; the others follow when they have read it"
        } else {
            ""
        };
        let replicas = text::count(answered, "replica");
        let line = format!(
            "breaker of '{id}' closed on {closed} of {replicas}, at revision {}{rest}",
            done.revision
        );
        Ok(text::plain(&line))
    })
}

#[derive(Debug, Deserialize)]
struct States {
    states: BTreeMap<String, Box<RawValue>>,
}

/// What the router says of one breaker; the first line of fields is the contract's, the others may be missing.
#[derive(Debug, Deserialize)]
struct State {
    state: String,
    opened_at: Option<String>,
    failure_count: u64,
    error_rate: f64,
    until: Option<String>,
    reason: Option<String>,
    last_opened_at: Option<String>,
    measured_state: Option<String>,
    operator: Option<Operator>,
    #[serde(default)]
    settings: BTreeMap<String, Value>,
    #[serde(default)]
    targets: Vec<Target>,
    suspect_until: Option<String>,
    fleet: Option<FleetLine>,
    tenants: Option<Tenants>,
}

/// Breakers that tenants have for themselves.
#[derive(Debug, Deserialize)]
struct Tenants {
    known: u64,
    open: u64,
    half_open: u64,
    #[serde(default)]
    worst: Vec<Tenant>,
}

#[derive(Debug, Deserialize)]
struct Tenant {
    tenant_id: String,
    state: String,
    failure_count: u64,
}

impl Tenants {
    /// Nothing while all of them are closed.
    fn trouble(&self) -> Option<String> {
        let Self {
            known,
            open,
            half_open,
            ..
        } = self;
        (open + half_open > 0)
            .then(|| format!("{open} of {known} tenants open, {half_open} half open"))
    }

    fn lines(&self) -> Vec<String> {
        let counted = self
            .trouble()
            .unwrap_or_else(|| format!("closed for all {}", self.known));
        let tenant = |Tenant {
                          tenant_id,
                          state,
                          failure_count,
                      }: &Tenant| {
            text::plain(&format!(
                "{tenant_id} {state}, {failure_count} failures in a row"
            ))
        };
        std::iter::once(counted)
            .chain(self.worst.iter().map(tenant))
            .collect()
    }
}

/// What all replicas say, counted.
#[derive(Debug, Deserialize)]
struct FleetLine {
    replicas: u64,
    open: u64,
    half_open: u64,
    #[serde(default)]
    targets: BTreeMap<String, FleetCount>,
}

#[derive(Debug, Deserialize)]
struct FleetCount {
    open: u64,
    half_open: u64,
}

impl FleetLine {
    fn text(&self) -> String {
        Self::counted(self.open, self.half_open, self.replicas)
    }

    fn counted(open: u64, half_open: u64, replicas: u64) -> String {
        match (open, half_open) {
            (0, 0) => format!("closed on {replicas} of {replicas}"),
            (0, half_open) => format!("half_open on {half_open} of {replicas}"),
            (open, 0) => format!("open on {open} of {replicas}"),
            (open, half_open) => format!("open on {open}, half_open on {half_open} of {replicas}"),
        }
    }

    fn lines(&self) -> Vec<String> {
        let target = |(subject, count): (&String, &FleetCount)| {
            text::plain(&format!(
                "{subject} {}",
                Self::counted(count.open, count.half_open, self.replicas)
            ))
        };
        std::iter::once(self.text())
            .chain(self.targets.iter().map(target))
            .collect()
    }
}

#[derive(Debug, Deserialize)]
struct Operator {
    state: String,
    until: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    subject: String,
    state: String,
    failure_count: u64,
}

fn state_of(raw: &RawValue) -> Result<State, Failure> {
    serde_json::from_str(raw.get()).map_err(|error| {
        Failure::Failed(format!(
            "a breaker in the answer cannot be read: {error}. See --output json."
        ))
    })
}

impl States {
    fn text(&self, fleet: bool) -> Result<String, Failure> {
        if self.states.is_empty() {
            return Ok("no extensions; `beamline-router ext create` registers one".to_owned());
        }
        let mut header = vec![
            "ID", "STATE", "FAILURES", "ERRORS", "UNTIL", "OPERATOR", "REASON",
        ];
        if fleet {
            header.insert(2, "FLEET");
        }
        let mut table = table::with_header(&header, &["FAILURES", "ERRORS"]);
        for (id, raw) in &self.states {
            let state = state_of(raw)?;
            let mut row = state.row(id).to_vec();
            if fleet {
                row.insert(
                    2,
                    state
                        .fleet
                        .as_ref()
                        .map_or_else(|| "-".to_owned(), FleetLine::text),
                );
            }
            table.add_row(row);
        }
        Ok(table::text(&table))
    }
}

impl State {
    fn row(&self, id: &str) -> [String; 7] {
        let or_dash =
            |text: Option<&String>| text.map_or_else(|| "-".to_owned(), |text| text::plain(text));
        // Whatever is decided holds until then; otherwise an open breaker does.
        let until = self
            .operator
            .as_ref()
            .map(|operator| &operator.until)
            .or(self.until.as_ref());
        let reason = self.operator.as_ref().map(|operator| &operator.reason);
        // Why it opened some day is no reason for being closed.
        let reason = reason.or(self.reason.as_ref().filter(|_| self.state != "closed"));
        let trouble = self.tenants.as_ref().and_then(Tenants::trouble);
        let reason = reason.or(trouble.as_ref());
        [
            text::plain(id),
            text::plain(&self.state),
            self.failure_count.to_string(),
            text::percentage(self.error_rate),
            or_dash(until),
            or_dash(self.operator.as_ref().map(|operator| &operator.state)),
            or_dash(reason),
        ]
    }

    fn fields(&self, id: &str) -> Vec<(&'static str, String)> {
        let mut fields = vec![("id", text::plain(id)), ("state", text::plain(&self.state))];
        let mut add =
            |name, text: Option<&String>| fields.extend(text.map(|text| (name, text::plain(text))));
        add("measured", self.measured_state.as_ref());
        if let Some(Operator {
            state,
            until,
            reason,
        }) = &self.operator
        {
            add(
                "operator",
                Some(&format!("{state} until {until}: {reason}")),
            );
        }
        add("opened at", self.opened_at.as_ref());
        add("until", self.until.as_ref());
        add("last opened", self.last_opened_at.as_ref());
        add("reason", self.reason.as_ref());
        add("suspect until", self.suspect_until.as_ref());
        add(
            "failures",
            Some(&format!("{} in a row", self.failure_count)),
        );
        add("errors", Some(&text::percentage(self.error_rate)));
        let lines = |lines: Vec<String>| {
            if lines.is_empty() {
                "-".to_owned()
            } else {
                lines.join("\n")
            }
        };
        let setting = |(name, value): (&String, &Value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            text::plain(&format!("{name} {value}"))
        };
        let settings = self.settings.iter().map(setting).collect();
        fields.push(("settings", lines(settings)));
        let target = |target: &Target| {
            text::plain(&format!(
                "{} {}, {} failures in a row",
                target.subject, target.state, target.failure_count
            ))
        };
        if let Some(tenants) = &self.tenants {
            fields.push(("tenants", lines(tenants.lines())));
        }
        if let Some(fleet) = &self.fleet {
            fields.push(("fleet", lines(fleet.lines())));
        }
        if !self.targets.is_empty() {
            fields.push(("targets", lines(self.targets.iter().map(target).collect())));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"ok": true, "states": {
        "clean": {"state": "closed", "opened_at": null, "failure_count": 0, "error_rate": 0.0, "reason": "5 failures in a row"},
        "guard": {"state": "open", "opened_at": "2026-01-01T00:00:00.000Z", "failure_count": 5, "error_rate": 0.25,
            "until": "2026-01-01T00:00:05.000Z", "reason": "5 failures in a row", "settings": {"isolation": "shared", "jitter": 25},
            "targets": [{"subject": "b.ext.validate.guard.a", "state": "open", "failure_count": 5}]},
        "model": {"state": "open", "opened_at": null, "failure_count": 0, "error_rate": 0.0, "measured_state": "closed",
            "operator": {"state": "forced_open", "until": "2026-01-01T01:00:00.000Z", "reason": "bad\u001b release"}}}}"#;

    #[test]
    fn breakers_are_listed_with_what_holds_them_open() {
        let states: States = serde_json::from_str(ANSWER).expect("an answer");
        let expected = "\
ID     STATE   FAILURES  ERRORS  UNTIL                     OPERATOR     REASON
clean  closed         0    0.0%  -                         -            -
guard  open           5   25.0%  2026-01-01T00:00:05.000Z  -            5 failures in a row
model  open           0    0.0%  2026-01-01T01:00:00.000Z  forced_open  bad\\u{1b} release";
        assert_eq!(states.text(false).expect("a table"), expected);
    }

    #[test]
    fn replicas_are_counted_where_they_were_asked() {
        let answer = r#"{"states": {
            "clean": {"state": "closed", "failure_count": 0, "error_rate": 0.0,
                "fleet": {"replicas": 3, "open": 0, "half_open": 0}},
            "guard": {"state": "closed", "failure_count": 0, "error_rate": 0.0,
                "fleet": {"replicas": 3, "open": 2, "half_open": 0, "targets": {"b.x": {"open": 2, "half_open": 1}}}},
            "model": {"state": "closed", "failure_count": 0, "error_rate": 0.0}}}"#;
        let states: States = serde_json::from_str(answer).expect("an answer");
        let expected = "\
ID     STATE   FLEET           FAILURES  ERRORS  UNTIL  OPERATOR  REASON
clean  closed  closed on 3 of 3         0    0.0%  -      -         -
guard  closed  open on 2 of 3           0    0.0%  -      -         -
model  closed  -                        0    0.0%  -      -         -";
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            squeezed(&states.text(true).expect("a table")),
            squeezed(expected)
        );
        let shown = table::of_fields(
            &state_of(&states.states["guard"])
                .expect("a state")
                .fields("guard"),
        );
        assert!(
            shown.contains("b.x open on 2, half_open on 1 of 3"),
            "{shown}"
        );
    }

    #[test]
    fn one_breaker_is_shown_with_its_settings_and_targets() {
        let states: States = serde_json::from_str(ANSWER).expect("an answer");
        let shown =
            |id: &str| table::of_fields(&state_of(&states.states[id]).expect("a state").fields(id));
        let expected = "\
id         guard
state      open
opened at  2026-01-01T00:00:00.000Z
until      2026-01-01T00:00:05.000Z
reason     5 failures in a row
failures   5 in a row
errors     25.0%
settings   isolation shared
           jitter 25
targets    b.ext.validate.guard.a open, 5 failures in a row";
        assert_eq!(shown("guard"), expected);
        assert!(
            shown("model").contains(
                "operator  forced_open until 2026-01-01T01:00:00.000Z: bad\\u{1b} release"
            )
        );
    }
}
