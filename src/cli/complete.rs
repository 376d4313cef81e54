//! `__complete`: what may come next in a line that is being typed. The script of `completions bash`
//! asks it for each press of the tab key; commands and options come from the grammar, ids and
//! tenants from the router. What clap_complete has for this is marked unstable.

use clap::{Args, CommandFactory};

use super::{Cli, Console, Failure};

mod names;
mod place;

use place::{Place, Wanted};

/// What stands on the line.
#[derive(Debug, Clone, Args)]
pub struct CompleteArgs {
    /// The words after the program, up to the one that is being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Says to the script that it is a file's turn.
const FILES: &str = ":files";

/// Never fails: nobody wants to read an error while typing.
pub(super) async fn run(args: &CompleteArgs, console: Console) -> Result<(), Failure> {
    let mut root = Cli::command();
    root.build();
    let place = Place::of(&root, &args.words);
    let mut found = match place.wanted() {
        Wanted::Words(words) => words,
        Wanted::Names(kind) => names::of(kind, &place.given).await,
        Wanted::Files => return console.print(FILES),
        Wanted::Anything => Vec::new(),
    };
    found.retain(|word| word.starts_with(&place.typed) && is_harmless(word));
    if found.is_empty() {
        return Ok(());
    }
    console.print(&found.join("\n"))
}

/// A shell takes what is completed as if it had been typed.
fn is_harmless(word: &str) -> bool {
    let harmless = |character: char| character.is_alphanumeric() || "_-./@:+".contains(character);
    !word.is_empty() && word.chars().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_shell_would_act_on_is_completed() {
        for harmful in ["$(reboot)", "a b", "a;b", "`x`", "a\nb", ""] {
            assert!(!is_harmless(harmful), "{harmful}");
        }
        assert!(is_harmless("eu-west/acme.v2") && is_harmless("--nats-url"));
    }
}
