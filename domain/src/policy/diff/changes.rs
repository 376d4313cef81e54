//! The differences found so far, each as a sentence.

use serde::Serialize;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub kind: ChangeKind,
    /// What changes, for example `provider openai_gpt4`.
    pub what: String,
    /// All of it in one sentence.
    pub sentence: String,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Added,
    Removed,
    Changed,
    Moved,
}

#[derive(Default)]
pub(super) struct Changes(pub(super) Vec<Change>);

impl Changes {
    pub(super) fn added(&mut self, what: &str, details: &str) {
        self.push(
            ChangeKind::Added,
            what,
            format!("{what} is new ({details})"),
        );
    }

    pub(super) fn removed(&mut self, what: &str) {
        self.push(ChangeKind::Removed, what, format!("{what} is gone"));
    }

    pub(super) fn changed(&mut self, what: &str, details: &str) {
        self.push(ChangeKind::Changed, what, format!("{what}: {details}"));
    }

    /// A word of a document, which may be missing.
    pub(super) fn value(&mut self, what: &str, old: Option<&str>, new: Option<&str>) {
        let shown = |value: Option<&str>| value.unwrap_or("none").to_owned();
        if old != new {
            self.changed(what, &format!("{} -> {}", shown(old), shown(new)));
        }
    }

    pub(super) fn push(&mut self, kind: ChangeKind, what: &str, sentence: String) {
        self.0.push(Change {
            kind,
            what: what.to_owned(),
            sentence,
        });
    }

    /// Those that stay, if they change places among themselves.
    pub(super) fn order(&mut self, stage: &str, old: &[String], new: &[String]) {
        let stay = |these: &[String], others: &[String]| -> Vec<String> {
            these
                .iter()
                .filter(|id| others.contains(id))
                .cloned()
                .collect()
        };
        let before = stay(old, new);
        let after = stay(new, old);
        if before != after {
            let sentence = format!(
                "the order of {stage} changes: {} -> {}",
                before.join(", "),
                after.join(", ")
            );
            self.push(ChangeKind::Moved, stage, sentence);
        }
    }
}
