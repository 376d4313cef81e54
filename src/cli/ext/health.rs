//! `ext health`: how each extension, version and instance has done lately, as the replica that
//! answers sees it.

use beamline_contract::admin::{GetExtensionHealth, HealthAnswer};
use serde_json::value::RawValue;

use crate::cli::client::Client;
use crate::cli::view::health;
use crate::cli::{Console, Failure};

/// Entries stay as the router wrote them.
pub(super) async fn run(
    client: &Client,
    id: Option<String>,
    console: Console,
) -> Result<(), Failure> {
    let question = GetExtensionHealth { id };
    let answer = client.admin(&question).await?;
    let mut written: HealthAnswer<&RawValue> = answer.read_as()?;
    if let Some(id) = &question.id {
        // A router of an earlier version tells of all.
        written.health.retain(|known, _| known == id);
    }
    let document =
        serde_json::to_string(&written).map_err(|error| Failure::Failed(error.to_string()))?;
    console.answer(&document, || health::table(&written.health))
}
