//! Which config the calls of an extension bring, and where each key of it was written: what is to
//! be said of a config, before anything is called, is said there.

use std::collections::BTreeMap;

use beamline_contract::fields::Fields;
use beamline_contract::record::{ExtensionRecord, ExtensionVersion, Kind};

use crate::document::pointer::child;
use crate::request::call_body::{DEFAULTS, parameters};

/// The config of the calls to one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub extension_id: String,
    pub kind: Kind,
    pub subject: String,
    /// As a call brings it; of a provider, its parameters where the caller asks for none.
    pub config: Fields,
    /// Where the document has the config, as a JSON pointer.
    pub place: String,
    /// Where the document has each key. Those that it has not come from the record.
    pub places: BTreeMap<String, String>,
}

/// A config that lies over those before it. Without a place it is no part of the document.
#[derive(Debug, Clone, Copy)]
struct Layer<'c> {
    config: &'c Fields,
    place: Option<&'c str>,
}

/// What calls of this extension bring where a policy adds nothing; the document is the record.
pub fn of_record(record: &ExtensionRecord, prefix: &str) -> Vec<Delivery> {
    let own = Layer {
        config: &record.config,
        place: Some("/config"),
    };
    let mut all = Vec::new();
    for subject in own_subjects(record, prefix) {
        all.extend(delivery(record, subject, &[own], "/config"));
    }
    for (at, version) in called_versions(record) {
        let subject = record.version_subject(version, prefix);
        let place = format!("/versions/{at}/config");
        all.extend(match &version.config {
            Some(config) => {
                let over = Layer {
                    config,
                    place: Some(&place),
                };
                delivery(record, subject, &[own, over], &place)
            }
            None => delivery(record, subject, &[own], "/config"),
        });
    }
    all
}

/// What calls under a policy bring whose entry for this extension has a config, which stands at
/// `place`.
pub fn of_entry(
    record: &ExtensionRecord,
    prefix: &str,
    config: &Fields,
    place: &str,
) -> Vec<Delivery> {
    let under = |config| Layer {
        config,
        place: None,
    };
    let own = under(&record.config);
    let entry = Layer {
        config,
        place: Some(place),
    };
    let mut all = Vec::new();
    for subject in own_subjects(record, prefix) {
        all.extend(delivery(record, subject, &[own, entry], place));
    }
    for (_, version) in called_versions(record) {
        let subject = record.version_subject(version, prefix);
        let version = version.config.as_ref().map(under);
        let layers: Vec<Layer<'_>> = [Some(own), version, Some(entry)]
            .into_iter()
            .flatten()
            .collect();
        all.extend(delivery(record, subject, &layers, place));
    }
    all
}

/// The instances of the extension's own version; without any, the one program that there is.
fn own_subjects(record: &ExtensionRecord, prefix: &str) -> Vec<String> {
    let instances = record.places().iter();
    let called = instances.filter(|instance| instance.enabled && instance.weight > 0);
    let subjects: Vec<String> = called.map(|instance| instance.subject.clone()).collect();
    if subjects.is_empty() {
        return vec![record.effective_subject(prefix)];
    }
    subjects
}

fn called_versions(record: &ExtensionRecord) -> impl Iterator<Item = (usize, &ExtensionVersion)> {
    let versions = record.versions.iter().enumerate();
    versions.filter(|(_, version)| version.enabled)
}

/// `None` where there is no config, or nobody whom this router calls.
fn delivery(
    record: &ExtensionRecord,
    subject: String,
    layers: &[Layer<'_>],
    place: &str,
) -> Option<Delivery> {
    let mut config = Fields::default();
    let mut places = BTreeMap::new();
    for layer in layers {
        config.overlay(layer.config);
        for (key, _) in layer.config.iter() {
            match layer.place {
                Some(place) => places.insert(key.to_owned(), child(place, key)),
                None => places.remove(key),
            };
        }
    }
    if config.is_empty() || record.is_external() {
        return None;
    }
    if record.kind == Kind::Provider {
        let given = parameters(&Fields::default(), &config);
        places = places_of_parameters(&given, &config, &places);
        config = given;
    }
    Some(Delivery {
        extension_id: record.id.clone(),
        kind: record.kind,
        subject,
        config,
        place: place.to_owned(),
        places,
    })
}

/// Where the parameters stand that registry and policy set, and below the defaults those that
/// callers may change.
fn places_of_parameters(
    parameters: &Fields,
    config: &Fields,
    places: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let place = |key: &str| {
        if key != DEFAULTS && config.get(key).is_some() {
            return places.get(key).cloned();
        }
        places.get(DEFAULTS).map(|defaults| child(defaults, key))
    };
    let placed = parameters.iter();
    placed
        .filter_map(|(key, _)| Some((key.to_owned(), place(key)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;

    fn lines(deliveries: Vec<Delivery>) -> Vec<String> {
        let line = |delivery: Delivery| {
            let places: Vec<String> = delivery.places.into_values().collect();
            let config = delivery.config.to_json();
            format!("{} {config} {}", delivery.subject, places.join(" "))
        };
        deliveries.into_iter().map(line).collect()
    }

    const RECORD: &str = r#"{"id": "clean", "type": "pre", "config": {"a": 1, "b/c": 2}, "versions": [
        {"version": "v2", "config": {"a": 3}}, {"version": "v3"}, {"version": "v4", "enabled": false, "config": {"a": 4}}]}"#;

    #[test]
    fn every_version_gets_the_config_of_the_record_under_its_own() {
        let record = record::parse(RECORD, "p").unwrap();
        let expected = [
            r#"p.ext.pre.clean.v1 {"a":1,"b/c":2} /config/a /config/b~1c"#,
            r#"p.ext.pre.clean.v2 {"a":3,"b/c":2} /versions/0/config/a /config/b~1c"#,
            r#"p.ext.pre.clean.v3 {"a":1,"b/c":2} /config/a /config/b~1c"#,
        ];
        assert_eq!(lines(of_record(&record, "p")), expected);
    }

    #[test]
    fn the_entry_of_a_policy_lies_over_all_of_them() {
        let record = record::parse(RECORD, "p").unwrap();
        let entry = Fields::parse(r#"{"d": 5, "a": 6}"#).unwrap();
        let got = lines(of_entry(&record, "p", &entry, "/pre/0/config"));
        let subjects = ["v1", "v2", "v3"].map(|version| {
            format!(
                r#"p.ext.pre.clean.{version} {{"a":6,"b/c":2,"d":5}} /pre/0/config/a /pre/0/config/d"#
            )
        });
        assert_eq!(got, subjects);
    }

    #[test]
    fn instances_take_the_calls_of_the_own_version() {
        let json = r#"{"id": "clean", "type": "pre", "config": {"a": 1}, "instances": [
            {"instance_id": "eu", "subject": "p.ext.pre.clean.eu"},
            {"instance_id": "us", "subject": "p.ext.pre.clean.us", "enabled": false}]}"#;
        let record = record::parse(json, "p").unwrap();
        let expected = [r#"p.ext.pre.clean.eu {"a":1} /config/a"#];
        assert_eq!(lines(of_record(&record, "p")), expected);
    }

    #[test]
    fn a_provider_gets_parameters() {
        let json = r#"{"id": "model", "type": "provider", "config": {"defaults": {"t": 1, "m": 2}, "m": 3}}"#;
        let record = record::parse(json, "p").unwrap();
        let expected = [r#"p.provider.model.v1 {"m":3,"t":1} /config/m /config/defaults/t"#];
        assert_eq!(lines(of_record(&record, "p")), expected);
        let entry = Fields::parse(r#"{"defaults": {"x": 4}}"#).unwrap();
        let expected = [r#"p.provider.model.v1 {"m":3,"x":4} /providers/0/config/defaults/x"#];
        let got = of_entry(&record, "p", &entry, "/providers/0/config");
        assert_eq!(lines(got), expected);
    }

    #[test]
    fn without_a_config_or_a_program_there_is_none() {
        let bare = record::parse(r#"{"id": "clean", "type": "pre"}"#, "p").unwrap();
        assert_eq!(of_record(&bare, "p"), []);
        let json = r#"{"id": "model", "type": "provider", "config": {"a": 1}, "metadata": {"external": true}}"#;
        let external = record::parse(json, "p").unwrap();
        assert_eq!(of_record(&external, "p"), []);
    }
}
