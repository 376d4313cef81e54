//! The chain over the rows of the audit log: what a row's hash is made of, and what is wrong with a
//! part of the chain.

use beamline_contract::admin::{AuditFinding, AuditHead, AuditRecord};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// A place in the chain, with the row that it is about if that is there.
#[derive(Debug, Clone)]
pub struct Link {
    pub seq: u64,
    pub row_id: u64,
    /// The router that wrote the row has put it here.
    pub vouched: bool,
    pub hash: String,
    pub record: Option<AuditRecord>,
}

/// A hash that begins with it is also over `vouched`. Those of earlier links begin with nothing.
const WITH_VOUCHED: &str = "2-";

/// The hash of a new link.
pub fn hash(before: &str, seq: u64, record: &AuditRecord, vouched: bool) -> String {
    let hash = digest(before, seq, record, Some(vouched));
    format!("{WITH_VOUCHED}{hash}")
}

impl Link {
    /// Whether `record` stands here, as it was written.
    fn is_right(&self, before: &str, record: &AuditRecord) -> bool {
        if self.hash.starts_with(WITH_VOUCHED) {
            self.hash == hash(before, self.seq, record, self.vouched)
        } else {
            self.hash == digest(before, self.seq, record, None)
        }
    }
}

/// SHA-256 of the hash before it, the place and every field, each with its length, so that nothing
/// can move from one field into the next.
fn digest(before: &str, seq: u64, record: &AuditRecord, vouched: Option<bool>) -> String {
    let mut digest = Sha256::new();
    let mut add = |field: Option<&str>| match field {
        Some(text) => {
            digest.update(text.len().to_be_bytes());
            digest.update(text.as_bytes());
        }
        None => digest.update([0xff; 8]),
    };
    let numbers = [seq, record.id, record.revision].map(|number| number.to_string());
    add(Some(before));
    numbers.iter().for_each(|number| add(Some(number)));
    for text in [&record.at, &record.source, &record.action] {
        add(Some(text));
    }
    for text in [&record.object_kind, &record.object_id, &record.outcome] {
        add(Some(text));
    }
    for text in [
        &record.actor,
        &record.key_id,
        &record.role,
        &record.address,
        &record.tenant_id,
        &record.reason,
        &record.error_code,
        &record.request_id,
        &record.trace_id,
    ] {
        add(text.as_deref());
    }
    for image in [&record.before, &record.after] {
        add(image.as_deref().map(RawValue::get));
    }
    if let Some(vouched) = vouched {
        add(Some(if vouched { "vouched" } else { "" }));
    }
    let bytes = digest.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is wrong with links that follow `head`. What is wrong with one is told of that one only.
pub fn findings(head: &AuditHead, links: &[Link]) -> Vec<AuditFinding> {
    let mut findings = Vec::new();
    let mut head = head.clone();
    for link in links {
        let mut add = |kind: &'static str, message: String| {
            findings.push(AuditFinding {
                kind: kind.into(),
                seq: Some(link.seq),
                id: Some(link.row_id),
                message,
            });
        };
        if link.seq != head.seq + 1 {
            let first = head.seq + 1;
            let last = link.seq.saturating_sub(1);
            add(
                "gap",
                format!("places {first} to {last} of the chain are missing"),
            );
        }
        match &link.record {
            None => add("gap", "its row is missing".to_owned()),
            Some(record) if !link.is_right(&head.hash, record) => add(
                "changed",
                "its row or its place in the chain is not what was written".to_owned(),
            ),
            Some(record) if !link.vouched => add(
                "forged",
                format!(
                    "no router vouches for this row of {}: a router of an earlier version wrote it, or one \
                     that ended in that moment, or somebody else",
                    record.at
                ),
            ),
            Some(_) => {}
        }
        head = AuditHead {
            seq: link.seq,
            hash: link.hash.clone(),
        };
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64) -> AuditRecord {
        AuditRecord {
            id,
            at: "2026-01-31T12:00:00Z".into(),
            source: "test".into(),
            action: "put".into(),
            actor: Some("key".into()),
            ..AuditRecord::default()
        }
    }

    fn start() -> AuditHead {
        AuditHead {
            seq: 0,
            hash: String::new(),
        }
    }

    fn chain(records: Vec<AuditRecord>) -> Vec<Link> {
        let mut head = start();
        let mut links = Vec::new();
        for record in records {
            let seq = head.seq + 1;
            let hash = hash(&head.hash, seq, &record, true);
            head = AuditHead {
                seq,
                hash: hash.clone(),
            };
            links.push(Link {
                seq,
                row_id: record.id,
                vouched: true,
                hash,
                record: Some(record),
            });
        }
        links
    }

    fn kinds(links: &[Link]) -> Vec<(String, Option<u64>)> {
        let found = findings(&start(), links).into_iter();
        found.map(|f| (f.kind.into_owned(), f.seq)).collect()
    }

    #[test]
    fn what_was_written_is_found_right() {
        let links = chain((1..6).map(record).collect());
        assert_eq!(kinds(&links), []);
        let head = AuditHead {
            seq: 3,
            hash: links[2].hash.clone(),
        };
        assert_eq!(findings(&head, &links[3..]), [], "from any place on");
    }

    #[test]
    fn a_change_a_gap_and_a_forged_row_are_found() {
        let found = |kind: &str, seq| vec![(kind.to_owned(), Some(seq))];
        let changes: [fn(&mut AuditRecord); 5] = [
            |record| record.actor = Some("other".into()),
            |record| record.actor = None,
            |record| record.reason = Some(String::new()),
            |record| record.revision = 7,
            |record| record.after = RawValue::from_string("{}".into()).ok(),
        ];
        for change in changes {
            let mut links = chain((1..6).map(record).collect());
            change(links[2].record.as_mut().unwrap());
            assert_eq!(kinds(&links), found("changed", 3));
        }
        let mut links = chain((1..6).map(record).collect());
        links[2].record = None;
        assert_eq!(kinds(&links), found("gap", 3));

        let mut links = chain((1..6).map(record).collect());
        links.remove(2);
        let found_both = vec![("gap".to_owned(), Some(4)), ("changed".to_owned(), Some(4))];
        assert_eq!(kinds(&links), found_both);

        let mut links = chain((1..6).map(record).collect());
        links[4].vouched = false;
        links[4].hash = hash(&links[3].hash, 5, &record(5), false);
        assert_eq!(kinds(&links), found("forged", 5));
        links[4].vouched = true;
        assert_eq!(kinds(&links), found("changed", 5), "nobody vouches later");
    }

    #[test]
    fn links_of_an_earlier_version_are_found_right() {
        let mut links: Vec<Link> = Vec::new();
        for seq in 1..4 {
            let before = links.last().map(|link| link.hash.clone());
            let hash = digest(&before.unwrap_or_default(), seq, &record(seq), None);
            links.push(Link {
                seq,
                row_id: seq,
                vouched: true,
                hash,
                record: Some(record(seq)),
            });
        }
        let hash = hash(&links[2].hash, 4, &record(4), true);
        links.push(Link {
            seq: 4,
            row_id: 4,
            hash,
            record: Some(record(4)),
            ..links[2].clone()
        });
        assert_eq!(kinds(&links), []);
        links[1].vouched = false;
        assert_eq!(kinds(&links), [("forged".to_owned(), Some(2))]);
    }

    #[test]
    fn text_cannot_move_between_fields() {
        let one = AuditRecord {
            object_kind: "ab".into(),
            object_id: "c".into(),
            ..record(1)
        };
        let other = AuditRecord {
            object_kind: "a".into(),
            object_id: "bc".into(),
            ..record(1)
        };
        assert_ne!(hash("", 1, &one, true), hash("", 1, &other, true));
    }
}
