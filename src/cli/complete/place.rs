//! Where the cursor is in the grammar of the command line.

use std::collections::BTreeMap;

use clap::{Arg, Command};

/// What came before the word that is being typed.
#[derive(Debug)]
pub(super) struct Place<'c> {
    command: &'c Command,
    /// The option whose value is being typed.
    open: Option<&'c Arg>,
    /// Values by the name of their argument; the last one counts.
    pub(super) given: BTreeMap<String, String>,
    positionals: usize,
    only_values: bool,
    pub(super) typed: String,
}

/// What may come next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Words(Vec<String>),
    Names(Names),
    Files,
    /// Nothing that is known.
    Anything,
}

/// Names that only a router knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Extensions,
    Tenants,
    /// Of the tenant that was given.
    Policies,
    /// `TENANT/POLICY`
    Both,
}

impl<'c> Place<'c> {
    /// `words` end with the one that is being typed. `root` is built, so that every command knows
    /// the global options.
    pub(super) fn of(root: &'c Command, words: &[String]) -> Self {
        let mut place = Self {
            command: root,
            open: None,
            given: BTreeMap::new(),
            positionals: 0,
            only_values: false,
            typed: String::new(),
        };
        if let Some((typed, before)) = words.split_last() {
            before.iter().for_each(|word| place.pass(word));
            place.begin(typed);
        }
        place
    }

    fn pass(&mut self, word: &str) {
        // Shells cut `--output=json` into three words.
        if word == "=" && self.open.is_some() {
            return;
        }
        if let Some(option) = self.open.take() {
            self.give(option, word);
        } else if self.only_values {
            self.pass_value(word);
        } else if word == "--" {
            self.only_values = true;
        } else if let Some(flag) = word.strip_prefix("--") {
            match flag.split_once('=') {
                Some((name, value)) => {
                    if let Some(option) = self.long(name) {
                        self.give(option, value);
                    }
                }
                None => self.open = self.long(flag).filter(|option| takes_value(option)),
            }
        } else if let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) {
            let mut letters = flag.chars();
            let option = letters.next().and_then(|letter| self.short(letter));
            let is_open = letters.next().is_none();
            self.open = option.filter(|option| is_open && takes_value(option));
        } else if let Some(command) = self.command.find_subcommand(word) {
            self.command = command;
        } else {
            self.pass_value(word);
        }
    }

    fn pass_value(&mut self, word: &str) {
        if let Some(argument) = self.positional() {
            self.give(argument, word);
        }
        self.positionals += 1;
    }

    fn give(&mut self, argument: &Arg, value: &str) {
        self.given
            .insert(argument.get_id().to_string(), value.to_owned());
    }

    fn begin(&mut self, typed: &str) {
        let is_value = self.open.is_some();
        typed.clone_into(&mut self.typed);
        if is_value && typed == "=" {
            self.typed.clear();
        } else if !is_value
            && let Some((name, value)) = typed.strip_prefix("--").and_then(|it| it.split_once('='))
        {
            self.open = self.long(name);
            value.clone_into(&mut self.typed);
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        if let Some(option) = self.open {
            return value_of(option);
        }
        if self.typed.starts_with('-') && !self.only_values {
            return Wanted::Words(self.options());
        }
        if self.command.has_subcommands() {
            let commands = self.command.get_subcommands();
            let shown = commands.filter(|command| !command.is_hide_set());
            return Wanted::Words(shown.map(|command| command.get_name().to_owned()).collect());
        }
        self.positional().map_or(Wanted::Anything, value_of)
    }

    fn options(&self) -> Vec<String> {
        let shown = self.command.get_arguments();
        let shown = shown.filter(|argument| !argument.is_hide_set());
        shown
            .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
            .collect()
    }

    fn long(&self, name: &str) -> Option<&'c Arg> {
        let mut all = self.command.get_arguments();
        all.find(|argument| argument.get_long() == Some(name))
    }

    fn short(&self, letter: char) -> Option<&'c Arg> {
        let mut all = self.command.get_arguments();
        all.find(|argument| argument.get_short() == Some(letter))
    }

    /// Whose value is next; the last one may have several.
    fn positional(&self) -> Option<&'c Arg> {
        let all: Vec<&Arg> = self.command.get_positionals().collect();
        let last = all.last().copied();
        let next = all.get(self.positionals).copied();
        next.or_else(|| last.filter(|last| takes_many(last)))
    }
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

fn takes_many(argument: &Arg) -> bool {
    matches!(argument.get_action(), clap::ArgAction::Append)
}

fn value_of(argument: &Arg) -> Wanted {
    let words = argument.get_possible_values();
    if !words.is_empty() {
        let words = words.iter().filter(|word| !word.is_hide_set());
        return Wanted::Words(words.map(|word| word.get_name().to_owned()).collect());
    }
    match argument.get_id().as_str() {
        "tenant" => return Wanted::Names(Names::Tenants),
        "policy" => return Wanted::Names(Names::Policies),
        "against" => return Wanted::Names(Names::Both),
        // Of `ext create` it is a new one.
        "id" if argument.is_positional() => return Wanted::Names(Names::Extensions),
        _ => {}
    }
    let names = argument.get_value_names().unwrap_or_default();
    let is_file = |name: &str| ["FILE", "PATH", "DIR", "OLD", "NEW"].contains(&name);
    if names.iter().any(|name| is_file(name)) {
        Wanted::Files
    } else {
        Wanted::Anything
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn wanted(line: &str) -> Wanted {
        let mut root = Cli::command();
        root.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Place::of(&root, &words).wanted()
    }

    fn words(line: &str) -> Vec<String> {
        let Wanted::Words(words) = wanted(line) else {
            panic!("{line} wants no words");
        };
        words
    }

    fn has(line: &str, word: &str) -> bool {
        words(line).iter().any(|known| known == word)
    }

    #[test]
    fn commands_are_known_at_every_level() {
        assert!(has("", "policy") && !has("", "__complete"));
        assert!(has("policy ", "explain") && has("--timeout 1s ext ", "health"));
        assert!(has("breaker fo", "force-open") && has("config ", "print"));
    }

    #[test]
    fn options_of_the_command_and_global_ones_are_known() {
        assert!(has("policy explain acme --", "--call-extensions"));
        assert!(has("policy explain acme --", "--nats-url"));
        assert!(!has("tree --", "--call-extensions") && has("tree --", "--watch"));
    }

    #[test]
    fn values_are_known_by_their_option_or_place() {
        assert_eq!(words("--output "), ["table", "json"]);
        assert_eq!(words("--output = "), ["table", "json"]);
        assert_eq!(words("--output ="), ["table", "json"]);
        assert_eq!(words("tree --output=j"), ["table", "json"]);
        assert!(has("ext list --type ", "validator") && has("completions ", "bash"));
        for (line, names) in [
            ("request --tenant ", Names::Tenants),
            ("request --tenant acme --policy ", Names::Policies),
            ("policy get ", Names::Tenants),
            ("policy get acme ", Names::Policies),
            ("policy check --against ", Names::Both),
            ("ext get ", Names::Extensions),
            ("ext update ", Names::Extensions),
            ("breaker force-open --for 1h ", Names::Extensions),
        ] {
            assert_eq!(wanted(line), Wanted::Names(names), "{line}");
        }
        for line in ["policy put a b -f ", "--config ", "policy check a.json "] {
            assert_eq!(wanted(line), Wanted::Files, "{line}");
        }
        for line in [
            "request hello ",
            "ext create --id ",
            "policy get a b ",
            "no such ",
        ] {
            let nothing = matches!(wanted(line), Wanted::Anything | Wanted::Words(_));
            assert!(nothing, "{line}");
        }
    }

    #[test]
    fn what_was_given_says_where_and_whose() {
        let mut root = Cli::command();
        root.build();
        let line = "--nats-url nats://x --set=a=b policy get acme ";
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let given = Place::of(&root, &words).given;
        let given = |name| given.get(name).map(String::as_str);
        assert_eq!(given("nats_url"), Some("nats://x"));
        assert_eq!(given("tenant"), Some("acme"));
        assert_eq!(given("set"), Some("a=b"));
    }
}
