//! Providers that are several faces of one program, such as the models of one vendor: each has a
//! record of its own, and all have one subject.

use std::collections::HashMap;
use std::sync::Arc;

use beamline_contract::mistake::Mistake;
use beamline_contract::record::{ExtensionRecord, Kind, Program};

/// Gives every face what it needs of its program. Where that is not registered, the face goes by
/// the subject that follows from its id.
pub fn put_together(mut records: Vec<ExtensionRecord>) -> Vec<ExtensionRecord> {
    let mut programs: HashMap<String, Arc<Program>> = HashMap::new();
    let named = records
        .iter()
        .filter_map(|record| record.subject_of.clone());
    let named: Vec<String> = named.collect();
    for record in records.iter().filter(|record| named.contains(&record.id)) {
        programs.insert(record.id.clone(), Arc::new(program(record)));
    }
    for record in &mut records {
        let program = record.subject_of.as_ref().and_then(|id| programs.get(id));
        record.program = program.cloned();
    }
    records
}

/// A record that is to be saved, with what it needs of its program. `find` looks an extension up,
/// and `has_faces` says whether it has other faces itself.
pub fn complete<'r>(
    record: ExtensionRecord,
    prefix: &str,
    find: impl Fn(&str) -> Option<&'r ExtensionRecord>,
    has_faces: bool,
) -> Result<ExtensionRecord, Mistake> {
    if has_faces && (record.kind != Kind::Provider || record.is_external()) {
        return Err(Mistake {
            pointer: "/type".to_owned(),
            message: format!(
                "must stay provider, and not external: others are faces of {}",
                record.id
            ),
        });
    }
    let Some(id) = &record.subject_of else {
        return Ok(record);
    };
    let Some(of) = find(id) else {
        return Err(mistake(format!(
            "names {id}, which is not registered; create it first"
        )));
    };
    if of.kind != Kind::Provider || of.is_external() {
        let what = if of.is_external() {
            "the caller executes"
        } else {
            "is no provider"
        };
        return Err(mistake(format!("names {id}, which {what}")));
    }
    if let Some(root) = &of.subject_of {
        return Err(mistake(format!(
            "names {id}, which is a face of {root} itself; name {root}"
        )));
    }
    if has_faces {
        return Err(mistake(format!(
            "is for one without faces of its own, and others name {}",
            record.id
        )));
    }
    let shared = of.effective_subject(prefix);
    if let Some(own) = record.subject.as_ref().filter(|own| **own != shared) {
        return Err(Mistake {
            pointer: "/subject".to_owned(),
            message: format!("is {own}, but {id} listens on {shared}; leave one of the two out"),
        });
    }
    Ok(ExtensionRecord {
        subject: None,
        program: Some(Arc::new(program(of))),
        ..record
    })
}

/// A record with the subject that it has once `saved` is.
pub fn moved(record: &ExtensionRecord, saved: &ExtensionRecord) -> ExtensionRecord {
    let program = if record.subject_of.as_ref() == Some(&saved.id) {
        Some(Arc::new(program(saved)))
    } else {
        record.program.clone()
    };
    ExtensionRecord {
        program,
        ..record.clone()
    }
}

fn program(record: &ExtensionRecord) -> Program {
    Program {
        id: record.id.clone(),
        subject: record.subject.clone(),
        version: record.version.clone(),
        instances: record.instances.clone(),
    }
}

fn mistake(message: String) -> Mistake {
    Mistake {
        pointer: "/subject_of".to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::parse;

    fn record(json: &str) -> ExtensionRecord {
        parse(json, "b").unwrap()
    }

    fn openai() -> ExtensionRecord {
        record(
            r#"{"id": "openai", "type": "provider", "version": "v2",
            "instances": [{"instance_id": "eu", "subject": "b.provider.openai.eu"}]}"#,
        )
    }

    fn mini(more: &str) -> ExtensionRecord {
        record(&format!(
            r#"{{"id": "openai:mini", "type": "provider", "subject_of": "openai"{more}}}"#
        ))
    }

    #[test]
    fn a_face_has_the_subject_and_the_instances_of_its_program() {
        let together = put_together(vec![mini(""), openai()]);
        let face = together.first().unwrap();
        assert_eq!(face.effective_subject("b"), "b.provider.openai.v2");
        assert_eq!(face.places(), openai().instances);
        let alone = put_together(vec![mini("")]).remove(0);
        assert_eq!(alone.effective_subject("b"), "b.provider.openai.v1");
        assert!(alone.places().is_empty());
    }

    #[test]
    fn versions_and_instances_of_its_own_stay() {
        let own = mini(
            r#", "versions": [{"version": "v3"}, {"version": "v4", "subject": "b.provider.x.v4"}],
            "instances": [{"instance_id": "us", "subject": "b.provider.openai.us"}]"#,
        );
        let together = put_together(vec![own, openai()]);
        let subjects = together.first().unwrap().subjects("b");
        let wanted = [
            "b.provider.openai.v2",
            "b.provider.openai.v2",
            "b.provider.x.v4",
            "b.provider.openai.us",
        ];
        assert_eq!(subjects, wanted);
    }

    #[test]
    fn what_cannot_be_a_face_is_refused() {
        let root = openai();
        let saved = |face: ExtensionRecord, known: &[ExtensionRecord], has_faces: bool| {
            let find = |id: &str| known.iter().find(|known| known.id == id);
            complete(face, "b", find, has_faces).map_err(|mistake| mistake.to_string())
        };
        let good = saved(mini(""), std::slice::from_ref(&root), false).unwrap();
        assert_eq!(good.effective_subject("b"), "b.provider.openai.v2");
        let same = mini(r#", "subject": "b.provider.openai.v2""#);
        let same = saved(same, std::slice::from_ref(&root), false).unwrap();
        assert_eq!(same.subject, None);
        let guard = record(r#"{"id": "openai", "type": "pre"}"#);
        let external =
            record(r#"{"id": "openai", "type": "provider", "metadata": {"external": true}}"#);
        let root_as_guard = record(r#"{"id": "openai", "type": "pre"}"#);
        let changed = saved(root_as_guard, &[], true).unwrap_err();
        assert!(changed.contains("must stay provider"), "{changed}");
        let chained = ExtensionRecord {
            subject_of: Some("azure".to_owned()),
            ..root.clone()
        };
        let other = mini(r#", "subject": "b.provider.openai.v1""#);
        for (face, known, has_faces, part) in [
            (mini(""), vec![], false, "not registered"),
            (mini(""), vec![guard], false, "is no provider"),
            (mini(""), vec![external], false, "the caller executes"),
            (mini(""), vec![chained], false, "name azure"),
            (
                mini(""),
                vec![root.clone()],
                true,
                "others name openai:mini",
            ),
            (
                other,
                vec![root],
                false,
                "/subject: is b.provider.openai.v1",
            ),
        ] {
            let refused = saved(face, &known, has_faces).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
