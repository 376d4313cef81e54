//! Where a document names the extensions of its policy.

use super::Policy;
use beamline_contract::record::Kind;

/// JSON pointers in the document as it was written, one for each entry of the policy.
///
/// All are equal: where something stands is not part of what a policy means, and two that mean the same are equal
/// whatever their form.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    pub(super) pre: Vec<String>,
    pub(super) validators: Vec<String>,
    pub(super) providers: Vec<String>,
    pub(super) post: Vec<String>,
    /// Also for rules that only retry, so that the indices agree.
    pub(super) fallbacks: Vec<String>,
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Policy {
    /// Every extension that the policy names, with the type it must have and the place where it is named.
    pub fn references(&self) -> impl Iterator<Item = (&str, Kind, String)> {
        let Places {
            pre,
            validators,
            providers,
            post,
            fallbacks,
        } = &self.places;
        let pre = self
            .pre
            .iter()
            .zip(pre)
            .map(|(p, place)| (p.id.as_str(), Kind::Pre, place));
        let validators = self
            .validators
            .iter()
            .zip(validators)
            .map(|(v, place)| (v.id.as_str(), Kind::Validator, place));
        let providers = self
            .providers
            .iter()
            .zip(providers)
            .map(|(p, place)| (p.name.as_str(), Kind::Provider, place));
        let post = self
            .post
            .iter()
            .zip(post)
            .map(|(p, place)| (p.id.as_str(), Kind::Post, place));
        let fallbacks = self.fallbacks.iter().zip(fallbacks);
        let fallbacks =
            fallbacks.filter_map(|(f, place)| Some((f.to.as_deref()?, Kind::Provider, place)));
        let all = pre
            .chain(validators)
            .chain(providers)
            .chain(post)
            .chain(fallbacks);
        all.map(|(id, kind, place)| (id, kind, place.clone()))
    }
}
