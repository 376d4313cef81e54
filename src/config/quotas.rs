//! What one tenant may take up, and what everybody together may.

use super::reader::Reader;

/// Section `quotas`. Requests per second are `router.tenant_rate`.
#[derive(Debug, Clone, Copy)]
pub struct QuotasConfig {
    /// Of each tenant, in flight and waiting; `None`: as many as there are places.
    pub requests_in_flight_per_tenant: Option<u32>,
    pub policies_per_tenant: u32,
    /// Of the documents of one tenant.
    pub policy_bytes_per_tenant: u32,
    /// Sticky sessions of one tenant that are alive, as far as one replica began them.
    pub sessions_per_tenant: u32,
    /// Of the whole router.
    pub extensions: u32,
    pub extension_bytes: u32,
}

const MIB: u32 = 1024 * 1024;

impl QuotasConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let in_flight = from.number("quotas.requests_in_flight_per_tenant", 0, 0..=1500);
        Self {
            requests_in_flight_per_tenant: (in_flight > 0).then_some(in_flight),
            policies_per_tenant: from.number("quotas.policies_per_tenant", 1_000, 1..=1_000_000),
            policy_bytes_per_tenant: from.number(
                "quotas.policy_bytes_per_tenant",
                16 * MIB,
                1_024..=u32::MAX,
            ),
            sessions_per_tenant: from.number("quotas.sessions_per_tenant", 50_000, 1..=100_000),
            extensions: from.number("quotas.extensions", 200_000, 1..=10_000_000),
            extension_bytes: from.number("quotas.extension_bytes", 256 * MIB, 1_024..=u32::MAX),
        }
    }
}
