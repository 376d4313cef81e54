//! Extensions one by one, and the targets of each that were called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use beamline_actors::invoker::Invoker;
use beamline_actors::targets::TargetState;
use beamline_contract::record::ExtensionRecord;
use beamline_domain::record;

use super::changes::find;
use super::refusal::Refusal;
use super::surroundings::Surroundings;

/// No extension is told of in fewer bytes.
const SHORTEST_LINE: usize = 100;

/// What `show` makes of one extension, or of every one.
pub(super) fn by_extension<T>(
    all: &Surroundings,
    id: Option<&str>,
    largest_answer: usize,
    show: impl Fn(&ExtensionRecord) -> T,
) -> Result<BTreeMap<String, T>, Refusal> {
    let snapshot = all.registry.snapshot();
    if let Some(id) = id {
        let extension = find(&snapshot, id)?;
        return Ok(BTreeMap::from([(extension.id.clone(), show(extension))]));
    }
    check_length(snapshot.extension_count(), largest_answer)?;
    let extensions = snapshot.extensions().iter();
    Ok(extensions
        .map(|extension| (extension.id.clone(), show(extension)))
        .collect())
}

/// Refuses what cannot fit into one answer before it is put together.
pub(super) fn check_length(extensions: usize, largest_answer: usize) -> Result<(), Refusal> {
    let least = extensions.saturating_mul(SHORTEST_LINE);
    if least > largest_answer {
        return Err(Refusal::too_long(least, largest_answer));
    }
    Ok(())
}

/// A subject that was called, with the version and instance that listen there.
pub(super) struct CalledTarget {
    pub(super) version: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) subject: String,
    pub(super) state: Arc<TargetState>,
}

pub(super) fn called_targets(
    extension: &ExtensionRecord,
    invoker: Option<&Invoker>,
) -> Vec<CalledTarget> {
    let targets = invoker.map(Invoker::targets).unwrap_or_default();
    targets
        .into_iter()
        .map(|state| {
            let listener = record::listener(extension, &state.subject);
            let (version, instance) = listener.map_or((None, None), |listener| {
                (Some(listener.version), listener.instance)
            });
            CalledTarget {
                version,
                instance,
                subject: state.subject.to_string(),
                state,
            }
        })
        .collect()
}

/// The time of day of a moment in the past.
pub(super) fn wall_time(at: Instant) -> String {
    let ago = Instant::now().saturating_duration_since(at);
    format_time(SystemTime::now() - ago)
}

/// The time of day of a moment to come.
pub(super) fn wall_time_ahead(at: Instant) -> String {
    let left: Duration = at.saturating_duration_since(Instant::now());
    format_time(SystemTime::now() + left)
}

pub(super) fn format_time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
