//! Administration (contract section 5): what each operation is called, takes and answers, and which
//! role it needs.
//!
//! An operation is the type of its request body. All of them stand in one list,
//! [`for_each_operation!`](crate::for_each_operation!).

use serde::Serialize;
use serde::de::DeserializeOwned;

mod breakers;
mod complexity;
mod dry_run;
mod extensions;
mod health;
mod policies;
mod refusal;
mod registry;
mod tree;

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
    ExtensionDeleted, ExtensionsAnswer, GetExtension, IF_REVISION, ListExtensions, UpdateExtension,
};
pub use health::{
    CallPlaces, ExtensionHealth, GetExtensionHealth, HealthAnswer, HealthFigures, TargetHealth,
};
pub use policies::{
    DeletePolicy, GetPolicy, ListPolicies, ListedPolicy, PoliciesAnswer, PolicyAnswer,
    PolicyWritten, PutPolicy, UnreadablePolicy,
};
pub use refusal::{RefusalAnswer, RefusalBody, RefusalCode};
pub use registry::{Reload, RevisionAnswer};
pub use tree::{
    NodeBreaker, NodeKind, RouterStatus, SupervisionTree, SupervisionTreeAnswer, TreeNode,
};

/// The field of any request body that holds the router's key, for who cannot send it beside the
/// body.
pub const API_KEY: &str = "api_key";

/// A request body that says by its type which operation it asks for.
pub trait Operation: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The last token of its subject.
    const NAME: &'static str;
    /// The least role that may have it.
    const ROLE: Role;
    const EFFECT: Effect;
    /// What is answered when it is not refused; a refusal is a [`RefusalAnswer`].
    type Answer: Serialize + DeserializeOwned + Send + 'static;
}

/// Who may do what (contract section 6); each role may all that those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Also decides about breakers, and enables and disables.
    Operator,
    /// Also writes extensions and policies.
    Editor,
    /// Also keys.
    Admin,
}

/// What an operation does to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Reads,
    /// The registry may be another one after it.
    Writes,
}

/// Every operation, handed to the macro `$then`: type, name, role, effect, answer.
#[macro_export]
macro_rules! for_each_operation {
    ($then:ident) => {
        $then! {
            GetExtensionHealth "get_extension_health" Viewer Reads HealthAnswer,
            GetCircuitBreakerStates "get_circuit_breaker_states" Viewer Reads BreakerStatesAnswer,
            ListExtensions "list_extensions" Viewer Reads ExtensionsAnswer,
            GetExtension "get_extension" Viewer Reads ExtensionAnswer,
            CreateExtension "create_extension" Editor Writes ExtensionAnswer,
            UpdateExtension "update_extension" Editor Writes ExtensionAnswer,
            DeleteExtension "delete_extension" Editor Writes ExtensionDeleted,
            EnableExtension "enable_extension" Operator Writes ExtensionAnswer,
            DisableExtension "disable_extension" Operator Writes ExtensionAnswer,
            ListPolicies "list_policies" Viewer Reads PoliciesAnswer,
            GetPolicy "get_policy" Viewer Reads PolicyAnswer,
            PutPolicy "put_policy" Editor Writes PolicyWritten,
            DeletePolicy "delete_policy" Editor Writes RevisionAnswer,
            DryRunPipeline "dry_run_pipeline" Viewer Reads DryRunAnswer,
            GetPipelineComplexity "get_pipeline_complexity" Viewer Reads ComplexityAnswer,
            Reload "reload" Operator Reads RevisionAnswer,
            SupervisionTree "supervision_tree" Viewer Reads SupervisionTreeAnswer,
            SetBreaker "set_breaker" Operator Writes BreakerSet,
            ResetBreaker "reset_breaker" Operator Writes BreakerReset,
        }
    };
}

macro_rules! implement {
    ($($operation:ident $name:literal $role:ident $effect:ident $answer:ident,)*) => {
        $(impl Operation for $operation {
            const NAME: &'static str = $name;
            const ROLE: Role = Role::$role;
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
