//! The configuration: one struct for each part of the router, read once, and checked as a whole
//! before anything starts.
//!
//! Four layers, the later one wins: defaults, a TOML file, the environment, flags. See
//! `docs/configuration.md`. For commands that ask a running router, the address of the one that
//! `up` runs here stands in for the default.

mod admin;
mod complexity;
mod content;
mod database;
mod environment;
mod file;
mod http;
mod layer;
mod layers;
mod memory;
mod mistakes;
mod nats;
mod origin;
mod overrides;
mod printout;
mod quotas;
mod reader;
mod router;
mod suggest;
mod telemetry;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::fmt;

use layers::Layers;
use printout::Printout;
use reader::Reader;

pub use admin::AdminConfig;
pub use complexity::ComplexityConfig;
pub use database::DatabaseConfig;
pub use http::HttpConfig;
pub use mistakes::{Mistakes, Place};
pub use nats::{NatsConfig, NatsSecret, NatsTlsConfig};
pub use overrides::{Discovered, FoundLogin, Overrides};
pub use quotas::QuotasConfig;
pub use router::RouterConfig;
pub(crate) use telemetry::log_filter_problem;
pub use telemetry::{LogFormat, TelemetryConfig};

/// A configuration in which everything was checked. Only `load` and `load_from` make one.
#[derive(Clone)]
pub struct Config {
    pub nats: NatsConfig,
    pub database: DatabaseConfig,
    pub http: HttpConfig,
    pub router: RouterConfig,
    pub complexity: ComplexityConfig,
    pub quotas: QuotasConfig,
    pub admin: AdminConfig,
    pub telemetry: TelemetryConfig,
    warnings: Vec<String>,
    printout: Printout,
}

/// Reads the configuration with the environment of this process.
pub fn load(overrides: &Overrides) -> Result<Config, Mistakes> {
    load_from(overrides, std::env::vars_os())
}

/// Reads the configuration with the environment given.
pub fn load_from(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, Mistakes> {
    // The parts name their keys and defaults where they read them, so a reading of nothing collects
    // the lowest layer.
    let mut blank = Reader::new(Layers::none());
    Config::read(&mut blank);
    let layers = Layers::read(blank.into_defaults(), overrides, environment);
    let mut reader = Reader::new(layers);
    let mut config = Config::read(&mut reader);
    if let Some(found) = &overrides.discovered {
        config.open_what_was_found(found, reader.is_discovered("nats.url"));
    }
    (config.printout, config.warnings) = reader.finish()?;
    Ok(config)
}

impl Config {
    fn read(from: &mut Reader) -> Self {
        let config = Self {
            nats: NatsConfig::read(from),
            database: DatabaseConfig::read(from),
            http: HttpConfig::read(from),
            router: RouterConfig::read(from),
            complexity: ComplexityConfig::read(from),
            quotas: QuotasConfig::read(from),
            admin: AdminConfig::read(from),
            telemetry: TelemetryConfig::read(from),
            warnings: Vec::new(),
            printout: Printout::default(),
        };
        config
            .admin
            .check_exposure(&config.http, &config.nats, from);
        config
    }

    /// What was written for other routers goes to none that was only found. That one's server has
    /// one login, also for whoever has written its address.
    fn open_what_was_found(&mut self, found: &Discovered, only_found: bool) {
        if !only_found && !found.is_at(&self.nats.url) {
            return;
        }
        self.nats.log_in_only_as(found.login.clone());
        if only_found || self.admin.api_key.is_none() {
            self.admin.api_key.clone_from(&found.key);
        }
    }

    /// What is allowed but should be looked at, such as a secret in a file that everybody can read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is open to those who have no key, and to whom; and where answers may go.
    pub fn openings(&self) -> Vec<String> {
        let mut openings = self.admin.openings(&self.nats);
        openings.push(self.nats.answers_go());
        openings
    }

    /// The effective configuration as it was loaded, with the origin of each value as a comment. In
    /// place of a secret stands `[redacted]`, which `load` refuses, so that nobody starts a router
    /// with it.
    pub fn to_toml(&self) -> String {
        self.printout.to_toml()
    }

    /// The effective configuration, one object for each section, and the origin of each value under
    /// `origins`.
    pub fn to_json(&self) -> serde_json::Value {
        self.printout.to_json()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("nats", &self.nats)
            .field("database", &self.database)
            .field("http", &self.http)
            .field("router", &self.router)
            .field("complexity", &self.complexity)
            .field("quotas", &self.quotas)
            .field("admin", &self.admin)
            .field("telemetry", &self.telemetry)
            .finish_non_exhaustive()
    }
}
