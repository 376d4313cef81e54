//! A provider's answer on its way out. Its output is the message of the post-processors; what it
//! says besides goes through them as well where one of them is required.

use std::sync::Arc;

use beamline_contract::fields::Fields;
use beamline_contract::policy::Mode;
use serde_json::value::{RawValue, to_raw_value};

use super::state::{Response, Run};
use crate::request::plan::{PlannedCall, Rule};
use crate::request::reply::Edit;

/// Of a message, who answered it.
const PROVIDER_ID: &str = "provider_id";
/// What a provider may say about its answer without repeating anything of it.
const HARMLESS: [&str; 5] = [
    "model",
    "finish_reason",
    "cost",
    "upstream_request_id",
    PROVIDER_ID,
];
/// Details of tokens are not nested more deeply.
const USAGE_DEPTH: usize = 3;
/// Why `degraded` names a post-processor: it changed the output, and said nothing of the rest.
const METADATA_WITHHELD: &str = "metadata_withheld";

impl Run {
    /// Takes the answer of a provider.
    pub(super) fn take_completion(
        &mut self,
        provider: &Arc<PlannedCall>,
        output: Box<RawValue>,
        usage: Option<Box<RawValue>>,
        metadata: Fields,
    ) {
        // What is no number might repeat what a mask takes out of the output.
        let usage = if self.guards_metadata() {
            usage.and_then(|usage| numbers_of(&usage, USAGE_DEPTH))
        } else {
            usage
        };
        self.response = Some(Response {
            call: Arc::clone(provider),
            usage: usage.map(Arc::from),
            metadata: Arc::new(metadata),
        });
        self.set_output(output.into(), provider);
    }

    pub(super) fn set_output(&mut self, output: Arc<RawValue>, provider: &PlannedCall) {
        self.message.payload = output;
        self.set_output_metadata(provider);
    }

    /// What a post-processor made of the output's metadata. `edit` is not yet in the message.
    pub(super) fn edit_response(&mut self, call: &PlannedCall, edit: &Edit) {
        let Some(response) = self.response.clone().filter(|_| self.guards_metadata()) else {
            return;
        };
        let kept = match (&edit.payload, &edit.metadata) {
            (_, Some(metadata)) => self.of_the_answer(metadata, &response.metadata),
            (Some(_), None) => harmless(&response.metadata),
            (None, None) => return,
        };
        let is_withheld = edit.metadata.is_none() && kept.len() < response.metadata.len();
        if is_withheld {
            self.degrade(call.id(), METADATA_WITHHELD);
        }
        let provider = Arc::clone(&response.call);
        self.response = Some(Response {
            metadata: Arc::new(kept),
            ..response
        });
        self.set_output_metadata(&provider);
    }

    /// The message's own metadata, and over it what the provider says of its answer.
    fn set_output_metadata(&mut self, provider: &PlannedCall) {
        let mut about = Fields::clone(self.message_metadata());
        if let Some(response) = self.response.as_ref().filter(|_| self.guards_metadata()) {
            about.overlay(&response.metadata);
        }
        about.set_text(PROVIDER_ID, provider.id());
        self.message.metadata = Arc::new(about);
    }

    /// As the pre-processors left it.
    fn message_metadata(&self) -> &Fields {
        match &self.decision {
            Some(decision) => &decision.message.metadata,
            None => &self.message.metadata,
        }
    }

    fn guards_metadata(&self) -> bool {
        let is_required = |call: &Arc<PlannedCall>| call.rule == Rule::Processor(Mode::Required);
        self.plan.post.iter().flatten().any(is_required)
    }

    /// What of a message's metadata is the provider's, or new; the rest came with the request.
    fn of_the_answer(&self, metadata: &Fields, provider: &Fields) -> Fields {
        let message = self.message_metadata();
        let is_its_own = |key: &str| {
            provider.get(key).is_some() || message.get(key).is_none() && key != PROVIDER_ID
        };
        let kept = metadata.iter().filter(|(key, _)| is_its_own(key));
        kept.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }
}

fn harmless(metadata: &Fields) -> Fields {
    let kept = metadata.iter().filter(|(key, _)| HARMLESS.contains(key));
    kept.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The numbers of an object, and of the objects in it, as they were written.
fn numbers_of(raw: &RawValue, depth: usize) -> Option<Box<RawValue>> {
    let is_number = |raw: &RawValue| serde_json::from_str::<serde_json::Number>(raw.get()).is_ok();
    let fields = Fields::parse(raw.get()).ok().filter(|_| depth > 0)?;
    let kept = fields.iter().filter_map(|(key, value)| {
        let value = if is_number(value) {
            value.to_owned()
        } else {
            numbers_of(value, depth - 1)?
        };
        Some((key.to_owned(), value))
    });
    to_raw_value(&kept.collect::<Fields>()).ok()
}
