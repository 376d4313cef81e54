//! The command line: what can be typed, and which file answers it.
//!
//! `serve` and `up` run a router. `tree`, `request`, `ext`, `breaker`, `policy` and `key`
//! talk to a running one over NATS, so they work wherever NATS can be reached.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::config::{Config, Discovered, Overrides};
use crate::up::state;

pub mod audit;
pub mod breaker;
mod client;
pub mod complete;
pub mod completions;
pub mod config;
mod console;
mod detail;
mod document;
pub mod ext;
mod failure;
pub mod key;
pub mod log_level;
pub mod migrate;
mod nearest;
mod pairs;
pub mod policy;
pub mod request;
pub mod serve;
mod stops;
pub mod tail;
pub mod top;
pub mod tree;
pub mod typed;
pub mod up;
mod view;

pub use console::{Console, Format};
pub use failure::{Failure, RefusedAnswer};
use view::text;

/// A NATS-native router for AI traffic.
#[derive(Debug, Parser)]
#[command(name = "beamline-router", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 not found, 4 conflict, \
                          5 NATS or the router cannot be reached, 70 gave up, 78 bad configuration.";

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Configuration file (TOML) [env: BEAMLINE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// NATS servers, separated by commas; short for --set nats.url=...
    #[arg(long, global = true, value_name = "URL")]
    pub nats_url: Option<String>,

    /// First part of every subject; short for --set nats.subject_prefix=...
    #[arg(long, global = true, value_name = "PREFIX")]
    pub subject_prefix: Option<String>,

    /// Overrides any configuration key; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,

    /// Tables for people, or one JSON document [env: BEAMLINE_OUTPUT] [default: table]
    #[arg(
        long,
        global = true,
        value_name = "table|json",
        hide_possible_values = true
    )]
    pub output: Option<Format>,

    /// How long to wait for NATS, and for each answer of the router
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub timeout: Duration,

    /// No colours, even on a terminal [env: NO_COLOR]
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// The subcommands in the order in which somebody meets them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start everything on this machine: NATS, router, reference extensions, a demo policy
    Up(up::UpArgs),
    /// Run a router in production: everything from configuration, nothing started on the side
    Serve,
    /// Send one message through a running router
    Request(request::RequestArgs),
    /// Follow requests as they are answered
    Tail(tail::TailArgs),
    /// Show rates, failures and latencies by extension and tenant, refreshed
    Top(top::TopArgs),
    /// Show the supervision tree of a running router
    Tree(tree::TreeArgs),
    /// List and change extensions
    #[command(subcommand)]
    Ext(ext::ExtCommand),
    /// List circuit breakers, and hold them open or closed for some time
    #[command(subcommand)]
    Breaker(breaker::BreakerCommand),
    /// List and change policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// List, make and end the keys of the administration
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show who has changed what, and check that the log is as it was written
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Show what is logged, or change it for a time
    LogLevel(log_level::LogLevelArgs),
    /// Bring the database to the schema of this version
    Migrate(migrate::MigrateArgs),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// What may come next on a line; for the completion script
    #[command(name = "__complete", hide = true)]
    Complete(complete::CompleteArgs),
}

impl Cli {
    /// Where this invocation writes. A wrong `BEAMLINE_OUTPUT` ends the process the way a wrong
    /// `--output` does.
    #[must_use]
    pub fn console(&self) -> Console {
        let from_environment = std::env::var("BEAMLINE_OUTPUT")
            .ok()
            .filter(|format| !format.is_empty());
        let format = self
            .globals
            .format(from_environment.as_deref())
            .unwrap_or_else(|sentence| {
                Self::command()
                    .error(ErrorKind::InvalidValue, sentence)
                    .exit()
            });
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Console::new(format, self.globals.no_color || no_color)
    }
}

impl Globals {
    /// The flag wins over the environment.
    fn format(&self, from_environment: Option<&str>) -> Result<Format, String> {
        match (self.output, from_environment) {
            (Some(format), _) => Ok(format),
            (None, Some(text)) => clap::ValueEnum::from_str(text, true).map_err(|_unknown| {
                format!(
                    "BEAMLINE_OUTPUT is '{}'; it must be 'table' or 'json'",
                    text::plain(text)
                )
            }),
            (None, None) => Ok(Format::Table),
        }
    }

    /// The short flags come last, so that they win over `--set`.
    fn overrides(&self) -> Overrides {
        let short = [
            ("nats.url", &self.nats_url),
            ("nats.subject_prefix", &self.subject_prefix),
        ];
        let short = short
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        let set = self.set.iter().cloned().chain(short).collect();
        Overrides {
            config_file: self.config.clone(),
            set,
            discovered: None,
        }
    }
}

impl Command {
    /// Keys that a flag of this command stands for.
    fn overrides(&self) -> Option<(String, String)> {
        match self {
            Self::Up(args) => args
                .http_listen
                .map(|listen| ("http.listen".to_owned(), listen.to_string())),
            Self::Serve
            | Self::Request(_)
            | Self::Tail(_)
            | Self::Top(_)
            | Self::Tree(_)
            | Self::Ext(_)
            | Self::Breaker(_)
            | Self::Policy(_)
            | Self::Key(_)
            | Self::Audit(_)
            | Self::LogLevel(_)
            | Self::Migrate(_)
            | Self::Config(_)
            | Self::Completions(_)
            | Self::Complete(_) => None,
        }
    }

    /// Whether the command is about a router that runs, so that the one of `up` in this directory
    /// is meant unless somebody says otherwise.
    fn asks_a_router(&self) -> bool {
        match self {
            Self::Request(_) | Self::Tree(_) | Self::Ext(_) | Self::Breaker(_) => true,
            Self::Policy(_) | Self::Key(_) | Self::Audit(_) | Self::Config(_) => true,
            Self::LogLevel(_) | Self::Tail(_) | Self::Top(_) => true,
            Self::Up(_) | Self::Serve | Self::Migrate(_) => false,
            Self::Completions(_) | Self::Complete(_) => false,
        }
    }
}

/// Names a state directory of `up` besides the one that lies in the present directory; set by the
/// file that shells read.
const UP_DIRECTORY: &str = "BEAMLINE_UP_DIR";

/// The router that `up` runs where a shell was told, or in the present directory; or why what says
/// so is not followed.
fn local_router() -> Result<Option<Discovered>, String> {
    let told = std::env::var_os(UP_DIRECTORY).filter(|told| !told.is_empty());
    let told = told.map(PathBuf::from);
    for directory in told.into_iter().chain([state::DEFAULT.into()]) {
        match state::find_in(&directory) {
            state::Found::Running(running) => return Ok(Some(discovered(&directory, running))),
            state::Found::Ignored(sentence) => return Err(sentence),
            state::Found::Nothing => {}
        }
    }
    Ok(None)
}

fn discovered(directory: &Path, running: state::Running) -> Discovered {
    let (key, login) = crate::up::secrets_in(directory);
    Discovered {
        place: state::announcement_in(directory),
        set: vec![
            ("nats.url".to_owned(), running.nats_url),
            ("nats.subject_prefix".to_owned(), running.subject_prefix),
        ],
        key,
        login,
    }
}

/// Runs the command that was typed. The configuration is read first, and only by commands that need
/// it.
pub async fn run(cli: Cli, console: Console) -> Result<(), Failure> {
    let Cli { globals, command } = cli;
    let mut overrides = globals.overrides();
    overrides.set.extend(command.overrides());
    if command.asks_a_router() {
        overrides.discovered = local_router().unwrap_or_else(|sentence| {
            console.warn(&sentence);
            None
        });
    }
    let load = || -> Result<Config, Failure> { Ok(crate::config::load(&overrides)?) };
    match command {
        Command::Up(args) => up::run(load()?, args, console).await,
        Command::Serve => serve::run(load()?).await,
        Command::Tail(args) => tail::run(&load()?, &args, globals.timeout, console).await,
        Command::Top(args) => top::run(&load()?, args, globals.timeout, console).await,
        Command::LogLevel(args) => log_level::run(&load()?, args, globals.timeout, console).await,
        Command::Request(args) => request::run(&load()?, &args, globals.timeout, console).await,
        Command::Tree(args) => tree::run(&load()?, &args, globals.timeout, console).await,
        Command::Ext(command) => ext::run(&load()?, command, globals.timeout, console).await,
        Command::Breaker(command) => {
            breaker::run(&load()?, command, globals.timeout, console).await
        }
        Command::Policy(command) => policy::run(load, command, globals.timeout, console).await,
        Command::Key(command) => key::run(&load()?, command, globals.timeout, console).await,
        Command::Audit(command) => audit::run(&load()?, command, globals.timeout, console).await,
        Command::Migrate(args) => migrate::run(&load()?, args, console).await,
        Command::Config(command) => config::run(load(), &command, console),
        Command::Completions(args) => completions::run(&args, console),
        Command::Complete(args) => complete::run(&args, console).await,
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write it as 500ms, 5s or 1m")),
    }
}

/// As the wire has them.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
