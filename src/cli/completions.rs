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

/// The script is made in memory first: the generator would panic when a reader goes away.
pub(super) fn run(args: &CompletionsArgs, console: Console) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "beamline-router",
        &mut script,
    );
    let script = String::from_utf8_lossy(&script);
    let document =
        serde_json::json!({"shell": args.shell.to_string(), "script": script}).to_string();
    console.answer(&document, || Ok(script.trim_end().to_owned()))
}
