//! What a policy says, whatever form its document has.

use std::ops::RangeInclusive;
use std::time::Duration;

use beamline_contract::fields::Fields;
use beamline_contract::limits::SESSION_SECONDS;
use beamline_contract::mistake::Mistake;
use beamline_contract::policy::{Mode, OnFail, Order};
use beamline_contract::record::{BreakerOverrides, Kind};

use super::entry::Terms;
use super::fallback::Fallback;
use super::places::Places;
use crate::document::pointer::child;

#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub version: String,
    /// Absent when the document leaves it to the name under which it is stored.
    pub policy_id: Option<String>,
    pub pre: Vec<Processor>,
    pub validators: Vec<Validator>,
    pub providers: Vec<Provider>,
    /// How one of the providers is chosen.
    pub order: Order,
    pub post: Vec<Processor>,
    /// They judge what the post-processors left.
    pub output_validators: Vec<Validator>,
    /// Tried in their order.
    pub fallbacks: Vec<Fallback>,
    pub sticky: Option<Sticky>,
    pub circuit_breaker: BreakerOverrides,
    pub metadata: Fields,
    pub(super) places: Places,
}

impl Policy {
    /// Extensions in the pipeline: everything that could run for one request, providers counted as
    /// one call.
    pub fn pipeline_length(&self) -> usize {
        self.pre.len()
            + self.validators.len()
            + self.post.len()
            + self.output_validators.len()
            + usize::from(!self.providers.is_empty())
    }

    /// What can be meant, but probably is not, with the places in the document.
    pub fn warnings(&self) -> &[Mistake] {
        &self.places.warnings
    }

    /// The configs of all entries that have one.
    pub fn configs(&self) -> impl Iterator<Item = EntryConfig<'_>> {
        let places = &self.places;
        let pre = self.pre.iter().map(|entry| (&entry.id, &entry.config));
        let validators = self.validators.iter();
        let validators = validators.map(|entry| (&entry.id, &entry.config));
        let providers = self.providers.iter();
        let providers = providers.map(|entry| (&entry.name, &entry.config));
        let post = self.post.iter().map(|entry| (&entry.id, &entry.config));
        let judges = self.output_validators.iter();
        let judges = judges.map(|entry| (&entry.id, &entry.config));
        let all = pre
            .zip(&places.pre)
            .chain(validators.zip(&places.validators))
            .chain(providers.zip(&places.providers))
            .chain(post.zip(&places.post))
            .chain(judges.zip(&places.output_validators));
        all.filter(|((_, config), _)| !config.is_empty())
            .map(|((id, config), place)| EntryConfig::new(id, config, place))
    }

    /// Every extension that the policy names, with the type it must have and the place where it is
    /// named.
    pub fn references(&self) -> impl Iterator<Item = (&str, Kind, String)> {
        let places = &self.places;
        let pre = self.pre.iter().map(|pre| (Some(&pre.id), Kind::Pre));
        let validators = self.validators.iter();
        let validators = validators.map(|validator| (Some(&validator.id), Kind::Validator));
        let providers = self.providers.iter();
        let providers = providers.map(|provider| (Some(&provider.name), Kind::Provider));
        let post = self.post.iter().map(|post| (Some(&post.id), Kind::Post));
        let judges = self.output_validators.iter();
        let judges = judges.map(|validator| (Some(&validator.id), Kind::Validator));
        let fallbacks = self.fallbacks.iter();
        let fallbacks = fallbacks.map(|rule| (rule.to.as_ref(), Kind::Provider));
        let all = pre
            .zip(&places.pre)
            .chain(validators.zip(&places.validators))
            .chain(providers.zip(&places.providers))
            .chain(post.zip(&places.post))
            .chain(judges.zip(&places.output_validators))
            .chain(fallbacks.zip(&places.fallbacks));
        all.filter_map(|((id, kind), place)| Some((id?.as_str(), kind, place.clone())))
    }
}

/// The config of one entry.
#[derive(Debug, Clone)]
pub struct EntryConfig<'p> {
    pub extension_id: &'p str,
    pub config: &'p Fields,
    /// Where the document has it, as a JSON pointer.
    pub place: String,
}

impl<'p> EntryConfig<'p> {
    /// `named_at` is where the entry names its extension.
    fn new(extension_id: &'p str, config: &'p Fields, named_at: &str) -> Self {
        let entry = named_at.rsplit_once('/').map_or("", |(entry, _)| entry);
        Self {
            extension_id,
            config,
            place: child(entry, "config"),
        }
    }
}

/// A pre- or post-processor in a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    pub id: String,
    pub mode: Mode,
    pub config: Fields,
    /// `None`: after everything listed before it. A list: after those only; the empty list waits
    /// for nothing.
    pub depends_on: Option<Vec<String>>,
    pub terms: Terms,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Validator {
    pub id: String,
    pub on_fail: OnFail,
    pub config: Fields,
    pub terms: Terms,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub name: String,
    /// Used in proportion to the sum of all; 0 takes no traffic. In a list by priority it says
    /// nothing.
    pub weight: f64,
    pub config: Fields,
    /// Less than its record gives; more is not given.
    pub timeout: Option<Duration>,
}

/// Requests of one session go to one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The context key whose value names the session.
    pub session_key: String,
    /// How long a session without a request keeps its provider.
    pub ttl: Duration,
}

impl Sticky {
    pub const DEFAULT_TTL: Duration = Duration::from_secs(600);
    pub const TTL: RangeInclusive<Duration> =
        Duration::from_secs(*SESSION_SECONDS.start())..=Duration::from_secs(*SESSION_SECONDS.end());
}
