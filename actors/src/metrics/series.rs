//! Series by extension. Few enough for whoever scrapes them, and gone with their extension.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Names that have series of their own; what comes later shares [`OTHER`].
#[derive(Debug)]
pub struct Named {
    most: usize,
    names: Mutex<HashSet<Arc<str>>>,
}

pub const OTHER: &str = "other";

impl Named {
    pub(super) fn at_most(most: usize) -> Self {
        Self {
            most,
            names: Mutex::default(),
        }
    }

    /// The label of this name.
    pub fn label(&self, name: &str) -> Arc<str> {
        let mut names = self.names.lock();
        if let Some(known) = names.get(name) {
            return Arc::clone(known);
        }
        if names.len() >= self.most {
            return OTHER.into();
        }
        let label: Arc<str> = name.into();
        names.insert(Arc::clone(&label));
        label
    }

    /// The label of a name that has one already; else that of all others.
    pub fn known(&self, name: &str) -> Arc<str> {
        let known = self.names.lock().get(name).map(Arc::clone);
        known.unwrap_or_else(|| OTHER.into())
    }

    /// Those that are gone make room for others; answers them.
    pub(super) fn retain(&self, is_known: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let mut names = self.names.lock();
        names.extract_if(|name| !is_known(name)).collect()
    }
}

/// A label set that names an extension.
pub trait OfExtension {
    fn extension_id(&self) -> &str;
}

/// A family that can forget what it has of one extension.
#[derive(Clone)]
pub struct Series<L, M, C = fn() -> M> {
    family: Family<L, M, C>,
    made: Arc<Mutex<HashMap<Arc<str>, HashSet<L>>>>,
}

impl<L, M, C> Series<L, M, C>
where
    L: OfExtension + Clone + Hash + Eq,
    M: Clone,
    C: MetricConstructor<M>,
{
    pub(super) fn new(constructor: C) -> Self {
        Self {
            family: Family::new_with_constructor(constructor),
            made: Arc::default(),
        }
    }

    /// The metric with these labels, made when there is none. To be kept by who counts often.
    pub fn of(&self, labels: &L) -> M {
        // Held meanwhile, so that nothing is made that is forgotten at the same time.
        let mut made = self.made.lock();
        match made.get_mut(labels.extension_id()) {
            Some(known) if known.contains(labels) => {}
            Some(known) => drop(known.insert(labels.clone())),
            None => {
                let first = HashSet::from([labels.clone()]);
                made.insert(labels.extension_id().into(), first);
            }
        }
        self.family.get_or_create_owned(labels)
    }

    pub(super) fn forget(&self, extension_id: &str) {
        let mut made = self.made.lock();
        for labels in made.remove(extension_id).into_iter().flatten() {
            self.family.remove(&labels);
        }
    }
}

impl<L, M, C> fmt::Debug for Series<L, M, C> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Series").finish_non_exhaustive()
    }
}

impl<L, M: TypedMetric, C> TypedMetric for Series<L, M, C> {
    const TYPE: MetricType = M::TYPE;
}

impl<L, M, C> EncodeMetric for Series<L, M, C>
where
    L: Clone + Hash + Eq + EncodeLabelSet,
    M: EncodeMetric + TypedMetric,
    C: MetricConstructor<M>,
{
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.family.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        self.family.is_empty()
    }
}
