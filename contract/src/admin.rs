//! Administration (contract section 5): what each operation is called, takes and answers, and which
//! role it needs.
//!
//! An operation is the type of its request body. All of them stand in one list,
//! [`for_each_operation!`](crate::for_each_operation!).

use serde::Serialize;
use serde::de::DeserializeOwned;

mod audit;
mod breakers;
mod complexity;
mod dry_run;
mod extensions;
mod health;
mod keys;
mod log_level;
mod policies;
mod refusal;
mod registry;
mod requests;
mod role;
mod stats;
mod tree;

pub use audit::{
    AuditAnswer, AuditFinding, AuditHead, AuditPruned, AuditRecord, AuditVerified, ListAudit,
    PruneAudit, VerifyAudit,
};
pub use breakers::{
    BreakerReset, BreakerSet, BreakerStatesAnswer, ExtensionBreakers, FleetBreakers, FleetCount,
    GetCircuitBreakerStates, PartBreaker, ReplicaSeen, ReplicasReset, ResetBreaker, SetBreaker,
    ShownBreaker, ShownDecision, TargetBreaker, TenantsCounted,
};
pub use complexity::{ComplexityAnswer, EstimateSource, GetPipelineComplexity};
pub use dry_run::{
    DryRunAnswer, DryRunError, DryRunPipeline, DryRunResult, LatencyEstimate, PlannedInstance,
    PlannedPipeline, PlannedProvider, PlannedStep, StickyRule,
};
pub use extensions::{
    CreateExtension, DeleteExtension, DisableExtension, EnableExtension, ExtensionAnswer,
    ExtensionDeleted, ExtensionsAnswer, GetExtension, ListExtensions, UpdateExtension,
};
pub use health::{
    CallPlaces, ExtensionHealth, GetExtensionHealth, HealthAnswer, HealthFigures, TargetHealth,
};
pub use keys::{
    CONFIGURED, CreateKey, KeyCreated, KeyRevoked, KeysAnswer, ListKeys, ListedKey, ReplacedKey,
    RevokeKey, RotateKey, ShownKey,
};
pub use log_level::{LogLevel, LogLevelAnswer, ReplicaLogLevel};
pub use policies::{
    DeletePolicy, GetPolicy, ListPolicies, ListedPolicy, PoliciesAnswer, PolicyAnswer,
    PolicyWritten, PutPolicy, UnreadablePolicy,
};
pub use refusal::{RefusalAnswer, RefusalBody, RefusalCode};
pub use registry::{Reload, RevisionAnswer};
pub use requests::{
    CalledInRequest, GetRequest, NotChosen, REMEMBERED_REQUESTS, RequestAttempt, RequestProvider,
    RequestStage, RequestStory, RequestsAnswer,
};
pub use role::{Effect, KeyKind, Reach, Role};
pub use stats::{GetStats, ReplicaStats, StatsAnswer, StatsCount, StatsStep};
pub use tree::{
    NodeBreaker, NodeKind, RouterStatus, SupervisionTree, SupervisionTreeAnswer, TreeNode,
};

/// The field of any request body that holds the router's key, for who cannot send it beside the
/// body.
pub const API_KEY: &str = "api_key";

/// The field of any write that says up to which revision its sender knows the object: after a later
/// change it is refused with `conflict`. 0: the object must not be there.
pub const IF_REVISION: &str = "if_revision";

/// A request body that says by its type which operation it asks for.
pub trait Operation: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The last token of its subject.
    const NAME: &'static str;
    /// The least role that may have it.
    const ROLE: Role;
    const REACH: Reach;
    const EFFECT: Effect;
    /// What is answered when it is not refused; a refusal is a [`RefusalAnswer`].
    type Answer: Serialize + DeserializeOwned + Send + 'static;
}

/// Every operation, handed to the macro `$then`: type, name, role, reach, effect, answer.
#[macro_export]
macro_rules! for_each_operation {
    ($then:ident) => {
        $then! {
            GetExtensionHealth "get_extension_health" Viewer Tenant Reads HealthAnswer,
            GetCircuitBreakerStates "get_circuit_breaker_states" Viewer Tenant Reads BreakerStatesAnswer,
            ListExtensions "list_extensions" Viewer Tenant Reads ExtensionsAnswer,
            GetExtension "get_extension" Viewer Tenant Reads ExtensionAnswer,
            CreateExtension "create_extension" Editor Router Writes ExtensionAnswer,
            UpdateExtension "update_extension" Editor Router Writes ExtensionAnswer,
            DeleteExtension "delete_extension" Editor Router Writes ExtensionDeleted,
            EnableExtension "enable_extension" Operator Router Writes ExtensionAnswer,
            DisableExtension "disable_extension" Operator Router Writes ExtensionAnswer,
            ListPolicies "list_policies" Viewer Tenant Reads PoliciesAnswer,
            GetPolicy "get_policy" Viewer Tenant Reads PolicyAnswer,
            PutPolicy "put_policy" Editor Tenant Writes PolicyWritten,
            DeletePolicy "delete_policy" Editor Tenant Writes RevisionAnswer,
            DryRunPipeline "dry_run_pipeline" Viewer Tenant Reads DryRunAnswer,
            GetPipelineComplexity "get_pipeline_complexity" Viewer Tenant Reads ComplexityAnswer,
            GetRequest "get_request" Viewer Tenant Reads RequestsAnswer,
            GetStats "get_stats" Viewer Tenant Reads StatsAnswer,
            LogLevel "log_level" Operator Router Reads LogLevelAnswer,
            Reload "reload" Operator Router Reads RevisionAnswer,
            SupervisionTree "supervision_tree" Viewer Router Reads SupervisionTreeAnswer,
            SetBreaker "set_breaker" Operator Router Writes BreakerSet,
            ResetBreaker "reset_breaker" Operator Router Writes BreakerReset,
            CreateKey "create_key" Admin Router Writes KeyCreated,
            ListKeys "list_keys" Admin Router Reads KeysAnswer,
            RotateKey "rotate_key" Admin Router Writes KeyCreated,
            RevokeKey "revoke_key" Admin Router Writes KeyRevoked,
            ListAudit "list_audit" Auditor Router Reads AuditAnswer,
            VerifyAudit "verify_audit" Auditor Router Reads AuditVerified,
            PruneAudit "prune_audit" Admin Router Writes AuditPruned,
        }
    };
}

macro_rules! implement {
    ($($operation:ident $name:literal $role:ident $reach:ident $effect:ident $answer:ident,)*) => {
        $(impl Operation for $operation {
            const NAME: &'static str = $name;
            const ROLE: Role = Role::$role;
            const REACH: Reach = Reach::$reach;
            const EFFECT: Effect = Effect::$effect;
            type Answer = $answer;
        })*

        const IMPLEMENTED: &[&str] = &[$($name),*];
    };
}

for_each_operation!(implement);

/// The names of all operations.
pub const NAMES: &[&str] = IMPLEMENTED;

#[cfg(test)]
mod tests;
