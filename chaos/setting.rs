//! What a scenario needs on its stage. Without a word: one router, one process of each extension,
//! one NATS server.

use std::path::PathBuf;

use crate::traffic::{Class, MIXED};

#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) routers: RouterSetting,
    /// Processes that serve the provider `model`.
    pub(crate) models: usize,
    pub(crate) bus: BusSetting,
    pub(crate) traffic: TrafficSetting,
}

#[derive(Debug, Clone)]
pub(crate) struct RouterSetting {
    pub(crate) count: usize,
    /// Keys such as `database.url`, with their values.
    pub(crate) configuration: Vec<(&'static str, String)>,
    /// Environment variables that are no configuration.
    pub(crate) variables: Vec<(&'static str, String)>,
    pub(crate) launch: Launch,
}

/// What is special about the processes of the routers.
#[derive(Debug, Clone, Default)]
pub(crate) enum Launch {
    #[default]
    Plain,
    /// They are in this control group from their first moment on.
    InGroup(PathBuf),
    /// They write their log into a pipe.
    PipedLog,
}

/// How routers and extensions reach each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum BusSetting {
    /// One server with JetStream, and nothing before it.
    #[default]
    Direct,
    /// One server with this in its configuration file.
    Configured(String),
    /// The routers reach the server through a proxy.
    Proxied,
    /// These are on a second server, which is joined with the first through a proxy. Neither has
    /// JetStream.
    Apart(Apart),
}

/// Who is on another NATS server than everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apart {
    Routers,
    Extensions,
}

#[derive(Debug, Clone)]
pub(crate) struct TrafficSetting {
    pub(crate) classes: &'static [Class],
    /// Requests a second, if the pace does not say.
    pub(crate) rate: Option<f64>,
    /// How often a client tries again.
    pub(crate) retries: u32,
}

impl Setting {
    pub(crate) fn routers(mut self, count: usize) -> Self {
        self.routers.count = count;
        self
    }

    /// Of the routers.
    pub(crate) fn configured(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.routers.configuration.push((key, value.into()));
        self
    }

    /// Of the environment of the routers.
    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.routers.variables.push((name, value.into()));
        self
    }

    pub(crate) fn launched(mut self, launch: Launch) -> Self {
        self.routers.launch = launch;
        self
    }

    /// None for a scenario with a puppet in the place of `model`.
    pub(crate) fn models(mut self, count: usize) -> Self {
        self.models = count;
        self
    }

    pub(crate) fn bus(mut self, bus: BusSetting) -> Self {
        self.bus = bus;
        self
    }

    pub(crate) fn traffic(mut self, traffic: TrafficSetting) -> Self {
        self.traffic = traffic;
        self
    }
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            routers: RouterSetting::default(),
            models: 1,
            bus: BusSetting::default(),
            traffic: TrafficSetting::default(),
        }
    }
}

impl Default for RouterSetting {
    fn default() -> Self {
        Self {
            count: 1,
            configuration: Vec::new(),
            variables: Vec::new(),
            launch: Launch::default(),
        }
    }
}

impl Default for TrafficSetting {
    fn default() -> Self {
        Self {
            classes: MIXED,
            rate: None,
            retries: 0,
        }
    }
}
