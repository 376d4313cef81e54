//! The layers above the defaults: which values were written for a key, where, and which of them counts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::Overrides;
use super::file;
use super::mistakes::{Mistake, Mistakes};

/// Environment variables of the configuration start with this; sections and keys are parted by the same two underscores.
const PREFIX: &str = "BEAMLINE__";
/// Names the configuration file if the command line does not.
const FILE_VARIABLE: &str = "BEAMLINE_CONFIG";

/// Where a value was written. The order is that of the layers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Default,
    /// The file in which a running router says where it is.
    Discovered(String),
    /// The position counts lines and columns from one; a mistake of the file as a whole has none.
    File {
        path: String,
        position: Option<(usize, usize)>,
    },
    Environment(String),
    Flag(String),
}

impl Origin {
    /// Two values of one layer contradict each other; of two layers the later one wins.
    pub(super) fn same_layer(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Discovered(path) => write!(f, "{} of the running `up`", printable(path)),
            Self::File {
                path,
                position: None,
            } => write!(f, "{}", printable(path)),
            Self::File {
                path,
                position: Some((line, column)),
            } => write!(f, "{}:{line}:{column}", printable(path)),
            Self::Environment(variable) => write!(f, "{}", printable(variable)),
            Self::Flag(key) => write!(f, "flag {}", printable(key)),
        }
    }
}

/// A value as it was written. It may be a secret, so it has no `Debug`.
pub(super) enum Raw {
    /// The environment and the command line know only text; the key decides what it means.
    Untyped(String),
    Text(String),
    Integer(String),
    Boolean(bool),
    List(Vec<Raw>),
    /// A TOML type that no key has.
    Other(&'static str),
}

/// How `Raw::Other` names a table.
pub(super) const SECTION: &str = "a section";

pub(super) struct Given {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// A mistake that still knows its layer, so that all of them can be put in order.
pub(super) struct Found {
    pub(super) origin: Origin,
    pub(super) key: Option<String>,
    pub(super) message: String,
}

/// What was written above the defaults.
#[derive(Default)]
pub(super) struct Layers {
    /// For each key its values, the one that counts at the end.
    given: BTreeMap<String, Vec<Given>>,
    pub(super) mistakes: Vec<Found>,
    /// Variables that the router does not read, though their names start almost like those that it reads.
    pub(super) lookalikes: Vec<String>,
    /// The configuration file, if everybody on this machine can read it.
    pub(super) world_readable_file: Option<PathBuf>,
}

impl Layers {
    pub(super) fn read(
        overrides: &Overrides,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut layers = Self::default();
        if let Some(found) = &overrides.discovered {
            let origin = Origin::Discovered(found.place.display().to_string());
            for (key, text) in &found.set {
                layers.add(key.clone(), Raw::Untyped(text.clone()), origin.clone());
            }
        }
        let (named_file, variables) = layers.sort_environment(environment);
        if let Some(path) = overrides.config_file.clone().or(named_file) {
            file::read(&path, &mut layers);
        }
        for (variable, text) in variables {
            layers.add(
                key_of(&variable),
                Raw::Untyped(text),
                Origin::Environment(variable),
            );
        }
        for (key, text) in &overrides.set {
            layers.add(
                key.clone(),
                Raw::Untyped(text.clone()),
                Origin::Flag(key.clone()),
            );
        }
        layers
    }

    pub(super) fn add(&mut self, key: String, raw: Raw, origin: Origin) {
        self.given
            .entry(key)
            .or_default()
            .push(Given { raw, origin });
    }

    pub(super) fn mistake(&mut self, origin: Origin, key: Option<String>, message: String) {
        self.mistakes.push(Found {
            origin,
            key,
            message,
        });
    }

    /// The value that counts.
    pub(super) fn top(&self, key: &str) -> Option<&Given> {
        self.given.get(key).and_then(|given| given.last())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Given)> {
        self.given
            .iter()
            .flat_map(|(key, given)| given.iter().map(move |one| (key, one)))
    }

    /// Picks the variables that concern the router, in the order of their names, and the file that one of them names.
    fn sort_environment(
        &mut self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> (Option<PathBuf>, BTreeMap<String, String>) {
        let mut named_file = None;
        let mut variables = BTreeMap::new();
        for (name, value) in environment {
            let shown = name.to_string_lossy().into_owned();
            let problem = if shown == FILE_VARIABLE {
                let empty = value.is_empty();
                named_file = (!empty).then(|| PathBuf::from(value));
                empty.then_some("is empty; name a file or unset it")
            } else if shown.starts_with(PREFIX) {
                match (name.into_string(), value.into_string()) {
                    (Err(_), _) => Some("the name of the variable is not valid UTF-8"),
                    (_, Err(_)) => Some("the value is not valid UTF-8"),
                    (Ok(name), Ok(value)) => variables
                        .insert(name, value)
                        .map(|_| "is set twice in the environment; keep one of them"),
                }
            } else {
                if shown.starts_with("BEAMLINE_") {
                    self.lookalikes.push(shown.clone());
                }
                None
            };
            if let Some(problem) = problem {
                self.mistake(Origin::Environment(shown), None, problem.to_owned());
            }
        }
        (named_file, variables)
    }

    /// The mistakes in the order of the layers, and in a file in the order of its lines.
    pub(super) fn into_mistakes(mut self) -> Mistakes {
        self.mistakes.sort_by(|a, b| a.origin.cmp(&b.origin));
        Mistakes(
            self.mistakes
                .into_iter()
                .map(|found| Mistake {
                    place: found.origin.to_string(),
                    key: found.key,
                    message: found.message,
                })
                .collect(),
        )
    }
}

/// `nats.tls.ca_file` for `BEAMLINE__NATS__TLS__CA_FILE`. A variable in another case stays as it is, and so no key.
fn key_of(variable: &str) -> String {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    if rest
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    {
        rest.to_ascii_lowercase().replace("__", ".")
    } else {
        variable.to_owned()
    }
}

/// `BEAMLINE__NATS__TLS__CA_FILE` for `nats.tls.ca_file`.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// Names come from outside: whatever could steer a terminal or break a line is written as an escape.
pub(super) fn printable(text: &str) -> String {
    let escape = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escape).collect()
}
