//! What a pipeline works with.

use std::sync::Arc;

use beamline_domain::admission::AdmissionSettings;
use beamline_domain::request::RequestLimits;
use beamline_domain::request::plan::PlanLimits;

use crate::invokers::Invokers;
use crate::registry::Registry;
use crate::sessions::Sessions;

/// How a deployment runs its pipelines.
#[derive(Debug, Clone)]
pub struct PipelineSettings {
    pub admission: AdmissionSettings,
    /// The name of the environment, which extensions and routing rules see.
    pub environment: Arc<str>,
    pub requests: RequestLimits,
    pub plans: PlanLimits,
    /// Retries and fallbacks that one request may make in all.
    pub extra_attempts: u32,
}

#[derive(Debug)]
pub struct PipelineServices {
    pub(crate) settings: PipelineSettings,
    pub(crate) registry: Registry,
    pub(crate) invokers: Invokers,
    pub(crate) sessions: Sessions,
}
