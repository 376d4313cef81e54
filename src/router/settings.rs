//! What each part needs of the configuration.

use std::sync::Arc;

use beamline_actors::ports::Store;
use beamline_actors::registry::RegistrySettings;
use beamline_actors::services::PipelineSettings;
use beamline_actors::watch::{HealthLog, WatchSettings};
use beamline_domain::admission::{AdmissionSettings, Rate};
use beamline_domain::policy::complexity::ComplexityLimits;
use beamline_domain::quotas::RegistryQuotas;
use beamline_domain::request::RequestLimits;
use beamline_domain::request::plan::PlanLimits;
use secrecy::ExposeSecret;

use crate::admin::{Access, AdminSettings, ConfiguredKey, Identity};
use crate::config::Config;
use crate::edge::nats::intake::IntakeSettings;

/// The name of the snapshot's copy in the state directory.
pub(super) const DISK_COPY: &str = "registry-snapshot.json";
/// That of the breakers that are open.
const OPEN_BREAKERS: &str = "open-breakers.json";

pub(super) fn registry_settings(config: &Config) -> RegistrySettings {
    RegistrySettings {
        poll_interval: config.database.poll_interval,
        disk_copy: Some(config.router.state_dir.join(DISK_COPY)),
    }
}

pub(super) fn watch_settings(
    config: &Config,
    store: &Arc<dyn Store>,
    identity: &Identity,
) -> WatchSettings {
    WatchSettings {
        health: Some(HealthLog {
            store: Arc::clone(store),
            replica: identity.instance_id.as_str().into(),
            every: config.database.health_interval,
        }),
        open_breakers: Some(config.router.state_dir.join(OPEN_BREAKERS)),
    }
}

pub(super) fn admin_settings(config: &Config) -> AdminSettings {
    AdminSettings {
        prefix: config.nats.subject_prefix.clone(),
        access: access(config),
        complexity: complexity_limits(config),
        max_extensions: config.router.max_extensions_per_pipeline as usize,
        max_extra_attempts: config.router.max_extra_attempts as usize,
        tenant_from_subject: config.router.tenant_from_subject,
        quotas: RegistryQuotas {
            policies: config.quotas.policies_per_tenant as usize,
            policy_bytes: config.quotas.policy_bytes_per_tenant as usize,
            extensions: config.quotas.extensions as usize,
            extension_bytes: config.quotas.extension_bytes as usize,
        },
    }
}

fn access(config: &Config) -> Access {
    let admin = &config.admin;
    let key = admin.api_key.as_ref();
    Access {
        configured: key.map(|key| ConfiguredKey::new(key.expose_secret(), admin.api_key_role)),
        anonymous: admin.anonymous(),
    }
}

pub(super) fn intake_settings(config: &Config) -> IntakeSettings {
    IntakeSettings {
        prefix: config.nats.subject_prefix.clone(),
        tenant_from_subject: config.router.tenant_from_subject,
        legacy_codes: config.router.legacy_codes,
    }
}

pub(super) fn pipeline_settings(config: &Config) -> PipelineSettings {
    let router = &config.router;
    PipelineSettings {
        admission: AdmissionSettings {
            max_in_flight: router.max_in_flight as usize,
            adaptive: router.adaptive_limit,
            max_bytes: router.max_bytes_in_flight,
            tenant_rate: router
                .tenant_rate
                .map(|(per_second, burst)| Rate { per_second, burst }),
            tenant_in_flight: config
                .quotas
                .requests_in_flight_per_tenant
                .map(|requests| requests as usize),
        },
        environment: router.environment.as_str().into(),
        requests: RequestLimits {
            default_timeout: router.default_timeout,
            max_timeout: router.max_timeout,
            allowed_tenants: router.allowed_tenants.clone(),
        },
        plans: PlanLimits {
            subject_prefix: config.nats.subject_prefix.clone(),
            max_extensions: router.max_extensions_per_pipeline as usize,
        },
        extra_attempts: router.max_extra_attempts,
    }
}

fn complexity_limits(config: &Config) -> ComplexityLimits {
    let complexity = &config.complexity;
    ComplexityLimits {
        total: complexity.recommended_total,
        per_kind: complexity.recommended_per_kind,
        assumed_latency: complexity.assumed_latency,
        latency: complexity.recommended_latency,
    }
}
