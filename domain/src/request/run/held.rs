//! How much memory a run has taken besides the request that it began with.

use std::sync::Arc;

use beamline_contract::fields::Fields;

use super::state::Run;
use crate::request::Message;

impl Run {
    /// Bytes of what stages made: messages, context, notes and an answer. What is still as the
    /// request brought it counts nothing.
    pub fn made_bytes(&self) -> usize {
        let own = &self.request.message;
        let message = made_of(&self.message, own);
        let decided = self.decision.as_ref().map_or(0, |decision| {
            let is_same = Arc::ptr_eq(&decision.message.payload, &self.message.payload);
            if is_same {
                0
            } else {
                made_of(&decision.message, own)
            }
        });
        let response = self.response.as_ref().map_or(0, |response| {
            let usage = response.usage.as_ref().map_or(0, |usage| usage.get().len());
            usage + bytes_of(&response.metadata)
        });
        let context = bytes_of(&self.context).saturating_sub(bytes_of(&self.request.context));
        message + decided + response + context + self.notes.bytes()
    }
}

/// Of a message, what is not the one that it began as.
fn made_of(message: &Message, began_as: &Message) -> usize {
    let payload = if Arc::ptr_eq(&message.payload, &began_as.payload) {
        0
    } else {
        message.payload.get().len()
    };
    let metadata = if Arc::ptr_eq(&message.metadata, &began_as.metadata) {
        0
    } else {
        bytes_of(&message.metadata)
    };
    payload + metadata
}

fn bytes_of(fields: &Fields) -> usize {
    let entries = fields.iter();
    entries
        .map(|(key, value)| key.len() + value.get().len())
        .sum()
}
