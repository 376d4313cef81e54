//! Which version and which instance of an extension listens on a subject.

use beamline_contract::subject;

use super::Extension;

/// Who takes the calls on one subject of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub version: String,
    pub instance: Option<String>,
}

impl Extension {
    /// Who listens on `subject`; `None` when it is none of the extension's.
    pub fn listener(&self, subject: &str) -> Option<Listener> {
        let of = |version: &str, instance: Option<&str>| {
            Some(Listener {
                version: version.to_owned(),
                instance: instance.map(str::to_owned),
            })
        };
        if let Some(instance) = self
            .instances
            .iter()
            .find(|instance| instance.subject == subject)
        {
            return of(&self.version, Some(&instance.instance_id));
        }
        if self.is_subject(self.subject.as_deref(), &self.version, subject) {
            return of(&self.version, None);
        }
        let version = self
            .versions
            .iter()
            .find(|v| self.is_subject(v.subject.as_deref(), &v.version, subject));
        version.and_then(|found| of(&found.version, None))
    }

    /// Which prefix the deployment has, nobody here knows: a subject that follows from a version is known by how it ends.
    fn is_subject(&self, written: Option<&str>, version: &str, subject: &str) -> bool {
        written.map_or_else(
            || subject.ends_with(&subject::extension("", self.kind, &self.id, version)),
            |own| own == subject,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_of_an_extension_has_its_version_and_instance() {
        let record = r#"{"id": "clean", "type": "pre", "version": "v2", "instances": [
            {"instance_id": "eu", "subject": "p.ext.pre.clean.eu"}], "versions": [
            {"version": "v3"}, {"version": "v4", "subject": "p.ext.pre.clean.next"}]}"#;
        let extension = Extension::parse(record, "p").unwrap();
        let name = |subject: &str| {
            extension
                .listener(subject)
                .map(|found| (found.version, found.instance))
        };
        let of = |version: &str, instance: Option<&str>| {
            Some((version.to_owned(), instance.map(str::to_owned)))
        };
        assert_eq!(name("p.ext.pre.clean.eu"), of("v2", Some("eu")));
        assert_eq!(name("p.ext.pre.clean.v2"), of("v2", None));
        assert_eq!(name("p.ext.pre.clean.v3"), of("v3", None));
        assert_eq!(name("p.ext.pre.clean.next"), of("v4", None));
        for other in [
            "p.ext.pre.clean.v4",
            "p.ext.pre.clean.v9",
            "p.ext.pre.unclean.v2",
            "p.ext.post.clean.v2",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }
}
