//! Where a document names the extensions of its policy.

use beamline_contract::mistake::Mistake;

/// JSON pointers in the document as it was written, one for each entry of the policy.
///
/// All are equal: where something stands is not part of what a policy means, and two that mean the
/// same are equal whatever their form.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    pub(super) pre: Vec<String>,
    pub(super) validators: Vec<String>,
    pub(super) providers: Vec<String>,
    pub(super) post: Vec<String>,
    pub(super) output_validators: Vec<String>,
    /// Also for rules that only retry, so that the indices agree.
    pub(super) fallbacks: Vec<String>,
    pub(super) warnings: Vec<Mistake>,
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
