//! Which version and which instance of an extension listens on a subject.

use beamline_contract::record::ExtensionRecord;

/// Who takes the calls on one subject of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectListener {
    pub version: String,
    pub instance: Option<String>,
}

/// Who listens on `subject`; `None` when it is none of the extension's.
pub fn listener(record: &ExtensionRecord, subject: &str) -> Option<SubjectListener> {
    let mut instances = record.places().iter();
    if let Some(instance) = instances.find(|instance| instance.subject == subject) {
        return Some(SubjectListener {
            version: record.version.clone(),
            instance: Some(instance.instance_id.clone()),
        });
    }
    Some(SubjectListener {
        version: version_on(record, subject)?.to_owned(),
        instance: None,
    })
}

/// The version that takes the calls on `subject`, whichever instance does.
fn version_on<'r>(record: &'r ExtensionRecord, subject: &str) -> Option<&'r str> {
    if is_subject(record, record.subject.as_deref(), &record.version, subject) {
        return Some(&record.version);
    }
    let mut versions = record.versions.iter();
    let version = versions.find(|version| {
        is_subject(
            record,
            version.subject.as_deref(),
            &version.version,
            subject,
        )
    })?;
    Some(&version.version)
}

/// Which prefix the deployment has, nobody here knows: a subject that follows from a version is
/// known by how it ends.
fn is_subject(
    record: &ExtensionRecord,
    written: Option<&str>,
    version: &str,
    subject: &str,
) -> bool {
    match written {
        Some(own) => own == subject,
        None => {
            let derived = record.derived_subject(version, "");
            derived == subject || derived.starts_with('.') && subject.ends_with(&derived)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;

    #[test]
    fn every_subject_of_an_extension_has_its_version_and_instance() {
        let json = r#"{"id": "clean", "type": "pre", "version": "v2", "instances": [
            {"instance_id": "eu", "subject": "p.ext.pre.clean.eu"}], "versions": [
            {"version": "v3"}, {"version": "v4", "subject": "p.ext.pre.clean.next"}]}"#;
        let extension = record::parse(json, "p").unwrap();
        let of = |version: &str, instance: Option<&str>| {
            Some(SubjectListener {
                version: version.to_owned(),
                instance: instance.map(str::to_owned),
            })
        };
        for (subject, want) in [
            ("p.ext.pre.clean.eu", of("v2", Some("eu"))),
            ("p.ext.pre.clean.v2", of("v2", None)),
            ("p.ext.pre.clean.v3", of("v3", None)),
            ("p.ext.pre.clean.next", of("v4", None)),
            ("p.ext.pre.clean.v4", None),
            ("p.ext.pre.clean.v9", None),
            ("p.ext.pre.unclean.v2", None),
            ("p.ext.post.clean.v2", None),
        ] {
            assert_eq!(listener(&extension, subject), want, "{subject}");
        }
    }
}
