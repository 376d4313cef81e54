//! `completions`: a script that teaches a shell the commands and options.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Console, Failure};

/// What `completions` takes besides the global options.
#[derive(Debug, Clone, Copy, Args)]
pub struct CompletionsArgs {
    /// The shell to complete for
    shell: Shell,
}

/// Asks this program at each press of the tab key, so that it knows ids and tenants too.
const BASH: &str = include_str!("completions/beamline-router.bash");

pub(super) fn run(args: &CompletionsArgs, console: Console) -> Result<(), Failure> {
    let script = script(args.shell);
    let document =
        serde_json::json!({"shell": args.shell.to_string(), "script": script}).to_string();
    console.answer(&document, || Ok(script.trim_end().to_owned()))
}

/// Made in memory: the generator would panic when a reader goes away.
fn script(shell: Shell) -> String {
    if shell == Shell::Bash {
        return BASH.to_owned();
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "beamline-router", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
