//! `policy complexity`: how long a pipeline is, and what would make it shorter.

use beamline_contract::admin::GetPipelineComplexity;
use clap::Args;

use super::{Client, Console, Failure};
use crate::cli::console::width;
use crate::cli::nearest;
use crate::cli::view::complexity;

/// What `policy complexity` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct ComplexityArgs {
    tenant: String,
    policy: String,
}

pub(super) async fn run(
    client: &Client,
    args: ComplexityArgs,
    console: Console,
) -> Result<(), Failure> {
    let question = GetPipelineComplexity {
        tenant_id: args.tenant,
        policy_id: args.policy,
    };
    let answer = match client.admin(&question).await {
        Ok(answer) => answer,
        Err(failure) => {
            let GetPipelineComplexity {
                tenant_id,
                policy_id,
            } = &question;
            return Err(nearest::with_hint(client, failure, tenant_id, policy_id).await);
        }
    };
    console.answer(answer.raw(), || {
        Ok(complexity::text(&question, &answer.read()?, width()))
    })
}
