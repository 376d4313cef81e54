//! The variables of the environment as a layer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::layer::Layer;
use super::mistakes::Mistakes;
use super::origin::Origin;
use super::values::without_line_end;

/// Variables of the configuration start with this; sections and keys are parted by the same two
/// underscores.
const PREFIX: &str = "BEAMLINE__";
/// Names the configuration file if the command line does not.
const FILE_VARIABLE: &str = "BEAMLINE_CONFIG";
/// A variable that starts so, in any case, may have been meant for the router.
const ALMOST_PREFIX: &str = "BEAMLINE_";

/// What the environment says about the configuration.
pub(super) struct Environment {
    pub(super) layer: Layer,
    pub(super) config_file: Option<PathBuf>,
    /// Variables that the router does not read, though their names start almost like those that it
    /// reads.
    pub(super) lookalikes: Vec<String>,
    pub(super) mistakes: Mistakes,
}

impl Environment {
    /// Picks the variables that concern the router, in the order of their names.
    pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self {
            layer: Layer::default(),
            config_file: None,
            lookalikes: Vec::new(),
            mistakes: Mistakes::all(),
        };
        let mut given = BTreeMap::new();
        for (name, value) in variables {
            let shown = name.to_string_lossy().into_owned();
            if shown == FILE_VARIABLE {
                environment.name_file(value);
            } else if !shown.starts_with(PREFIX) {
                if starts_like(&shown, ALMOST_PREFIX) {
                    environment.lookalikes.push(shown);
                }
            } else if name.into_string().is_err() {
                environment.mistake(shown, "the name of the variable is not valid UTF-8");
            } else if let Ok(text) = value.into_string() {
                let text = without_line_end(&text).to_owned();
                if given.insert(shown.clone(), text).is_some() {
                    environment.mistake(shown, "is set twice in the environment; keep one of them");
                }
            } else {
                environment.mistake(shown, "the value is not valid UTF-8");
            }
        }
        for (variable, text) in given {
            let key = key_of(&variable);
            environment
                .layer
                .add(key, text, &Origin::Environment(variable));
        }
        environment
    }

    fn name_file(&mut self, path: OsString) {
        let path = match path.into_string() {
            Ok(text) => without_line_end(&text).into(),
            Err(path) => path,
        };
        if path.is_empty() {
            self.mistake(
                FILE_VARIABLE.to_owned(),
                "is empty; name a file or unset it",
            );
        } else {
            self.config_file = Some(PathBuf::from(path));
        }
    }

    fn mistake(&mut self, variable: String, message: &str) {
        self.mistakes.add(Origin::Environment(variable), message);
    }
}

/// `BEAMLINE__NATS__TLS__CA_FILE` for `nats.tls.ca_file`.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// `nats.tls.ca_file` for `BEAMLINE__NATS__TLS__CA_FILE`. A variable in another case stays as it
/// is, and so no key.
fn key_of(variable: &str) -> String {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if rest.chars().all(is_plain) {
        rest.to_ascii_lowercase().replace("__", ".")
    } else {
        variable.to_owned()
    }
}

fn starts_like(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
