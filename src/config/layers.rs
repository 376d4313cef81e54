//! The layers of the configuration, merged by the `config` crate: which value counts for a key, and
//! where it was written.

use std::ffi::OsString;
use std::path::PathBuf;

use config::{Config, ConfigError, Value};

use super::environment::Environment;
use super::file::ConfigFile;
use super::layer::Layer;
use super::mistakes::Mistakes;
use super::origin::Origin;
use super::overrides::Overrides;
use super::suggest;

/// Every key that a part asks for, and as the lowest layer the defaults of those that have one.
#[derive(Default)]
pub(super) struct Defaults {
    pub(super) keys: Vec<String>,
    pub(super) layer: Layer,
}

/// What was written, layer upon layer.
pub(super) struct Layers {
    merged: Config,
    /// The file alone, for what concerns it even where a later layer wins.
    pub(super) file: Layer,
    /// The configuration file, if everybody on this machine can read it.
    pub(super) world_readable_file: Option<PathBuf>,
    pub(super) mistakes: Mistakes,
    pub(super) warnings: Vec<String>,
}

impl Layers {
    /// Nothing is written, and nothing has a default.
    pub(super) fn none() -> Self {
        Self {
            merged: Config::default(),
            file: Layer::default(),
            world_readable_file: None,
            mistakes: Mistakes::all(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn read(
        defaults: Defaults,
        overrides: &Overrides,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let known: Vec<&str> = defaults.keys.iter().map(String::as_str).collect();
        let mut discovered = discovered(overrides);
        let mut environment = Environment::read(variables);
        let path = overrides.config_file.clone().or(environment.config_file);
        let mut file = ConfigFile::read(path.as_deref());
        let mut flags = flags(overrides);

        let mut mistakes = file.mistakes;
        mistakes.extend(environment.mistakes);
        for layer in [
            &mut discovered,
            &mut file.layer,
            &mut environment.layer,
            &mut flags,
        ] {
            suggest::take_unknown(layer, &known, &mut mistakes);
        }
        let warnings = suggest::lookalikes(&environment.lookalikes, &known);
        let layers = [
            defaults.layer,
            discovered,
            file.layer.clone(),
            environment.layer,
            flags,
        ];
        let merged = merge(layers).unwrap_or_else(|error| {
            mistakes.add(Origin::Default, error.to_string());
            Config::default()
        });
        Self {
            merged,
            file: file.layer,
            world_readable_file: path.filter(|_| file.world_readable),
            mistakes,
            warnings,
        }
    }

    /// The value that counts.
    pub(super) fn value(&self, key: &str) -> Option<Value> {
        let (section, name) = key.rsplit_once('.')?;
        self.merged.get_table(section).ok()?.remove(name)
    }
}

fn merge(layers: impl IntoIterator<Item = Layer>) -> Result<Config, ConfigError> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    builder.build()
}

fn discovered(overrides: &Overrides) -> Layer {
    let mut layer = Layer::default();
    if let Some(found) = &overrides.discovered {
        let origin = Origin::Discovered(found.place.display().to_string());
        for (key, text) in &found.set {
            layer.add(key.clone(), text.clone(), &origin);
        }
    }
    layer
}

fn flags(overrides: &Overrides) -> Layer {
    let mut layer = Layer::default();
    for (key, text) in &overrides.set {
        layer.add(key.clone(), text.clone(), &Origin::Flag(key.clone()));
    }
    layer
}
