//! Which requests are asked for.

use std::time::Duration;

use beamline_contract::admin::GetRequest;
use clap::Args;

use crate::cli::milliseconds;

/// What they have in common.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Which {
    /// Only requests that were not answered ok
    #[arg(long)]
    failed: bool,

    /// Only requests of this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,

    /// Only requests of this policy
    #[arg(long, value_name = "ID")]
    policy: Option<String>,

    /// Only requests that called this extension
    #[arg(long, value_name = "ID")]
    extension: Option<String>,

    /// Only requests with this outcome: ok, or the code of an error
    #[arg(long, value_name = "CODE")]
    outcome: Option<String>,

    /// Only requests that took this long, or longer
    #[arg(long, value_name = "TIME", value_parser = crate::cli::time)]
    slower_than: Option<Duration>,
}

impl Which {
    pub(in crate::cli) fn question(&self) -> GetRequest {
        GetRequest {
            failed: self.failed.then_some(true),
            tenant_id: self.tenant.clone(),
            policy_id: self.policy.clone(),
            extension_id: self.extension.clone(),
            outcome: self.outcome.clone(),
            least_ms: self.slower_than.map(milliseconds),
            ..GetRequest::default()
        }
    }
}
