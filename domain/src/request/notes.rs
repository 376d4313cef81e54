//! What an extension keeps with a request for another face of its own program (contract section
//! 2): how a masker puts back what it masked.

use std::collections::BTreeMap;
use std::sync::Arc;

use beamline_contract::notes::Notes;
use serde_json::value::RawValue;

/// The notes of one request, by the extension that wrote them. They are in memory only, and end
/// with the request.
#[derive(Debug, Clone, Default)]
pub struct AllNotes(Arc<BTreeMap<String, Notes>>);

impl AllNotes {
    /// The last ones of an extension count.
    pub(crate) fn keep(&mut self, extension_id: &str, notes: Notes) {
        Arc::make_mut(&mut self.0).insert(extension_id.to_owned(), notes);
    }

    /// Of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.0.values().map(|notes| notes.json().get().len()).sum()
    }

    /// What is handed to an extension whose record has this `notes_of`.
    pub fn of(&self, notes_of: Option<&str>) -> Option<&RawValue> {
        self.0.get(notes_of?).map(Notes::json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_not_shown() {
        let mut all = AllNotes::default();
        let secret = RawValue::from_string(r#""4111""#.to_owned()).unwrap();
        all.keep("mask_pii_in", Notes::new(secret));
        assert!(!format!("{all:?}").contains("4111"));
        assert_eq!(all.of(Some("mask_pii_in")).unwrap().get(), r#""4111""#);
        assert!(all.of(Some("mask_pii")).is_none() && all.of(None).is_none());
    }
}
