//! `config`: every mistake of the configuration at once, or what the configuration amounts to.

use clap::Subcommand;

use super::view::text;
use super::{Console, Failure};
use crate::config::Config;

/// What can be done with the configuration.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// List every mistake, or say ok
    Check,
    /// Print the effective configuration, without its secrets
    Print,
}

/// A configuration with mistakes ends either command with all of them on standard error.
pub(super) fn run(
    loaded: Result<Config, Failure>,
    command: &ConfigCommand,
    console: Console,
) -> Result<(), Failure> {
    let config = loaded?;
    for warning in config.warnings() {
        console.warn(warning);
    }
    match command {
        ConfigCommand::Check => {
            let openings = config.openings();
            let document = serde_json::json!({
                "ok": true,
                "warnings": config.warnings(),
                "open": openings,
            });
            console.answer(&document.to_string(), || {
                let mut lines = vec![verdict(config.warnings().len())];
                lines.extend(openings.iter().map(|opening| format!("open: {opening}")));
                Ok(text::plain_block(&lines.join("\n")))
            })
        }
        ConfigCommand::Print => console.answer(&config.to_json().to_string(), || {
            Ok(text::plain_block(config.to_toml().trim_end()))
        }),
    }
}

fn verdict(warnings: usize) -> String {
    if warnings == 0 {
        "ok".to_owned()
    } else {
        format!("ok, with {}", text::count(warnings, "warning"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts_warnings() {
        assert_eq!(
            [verdict(0), verdict(1), verdict(2)],
            ["ok", "ok, with 1 warning", "ok, with 2 warnings"]
        );
    }
}
