//! The names that a running router has, if one answers at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use beamline_contract::admin::ListExtensions;
use tokio::time::timeout;

use super::place::Names;
use crate::cli::client::Client;
use crate::cli::nearest::Known;
use crate::cli::{Failure, key_value, local_router};
use crate::config::{self, Overrides};

/// Somebody holds the tab key.
const PATIENCE: Duration = Duration::from_millis(500);

/// Nothing when the router is away: that is said when the command runs.
pub(super) async fn of(kind: Names, given: &BTreeMap<String, String>) -> Vec<String> {
    let asked = timeout(PATIENCE, ask(kind, given)).await;
    asked.ok().and_then(Result::ok).unwrap_or_default()
}

async fn ask(kind: Names, given: &BTreeMap<String, String>) -> Result<Vec<String>, Failure> {
    let config = config::load(&overrides(given))?;
    let client = Client::connect(&config, PATIENCE).await?;
    if kind == Names::Extensions {
        return extensions(&client).await;
    }
    let known = Known::of(&client, PATIENCE).await?;
    let tenant = given.get("tenant").map(String::as_str);
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    Ok(match kind {
        Names::Tenants => owned(known.tenants()),
        Names::Policies => owned(known.of_tenant(tenant.unwrap_or_default())),
        Names::Both => known.both(),
        Names::Extensions => Vec::new(),
    })
}

async fn extensions(client: &Client) -> Result<Vec<String>, Failure> {
    let question = ListExtensions { kind: None };
    let answer = client.admin(&question).await?.read()?;
    let ids = answer.extensions.into_iter().map(|record| record.id);
    Ok(ids.map(|id| id.to_string()).collect())
}

/// As the command that is being typed will have them.
fn overrides(given: &BTreeMap<String, String>) -> Overrides {
    let short = [
        ("nats.url", "nats_url"),
        ("nats.subject_prefix", "subject_prefix"),
    ];
    let short = short
        .into_iter()
        .filter_map(|(key, name)| Some((key.to_owned(), given.get(name)?.clone())));
    let set = given.get("set").and_then(|text| key_value(text).ok());
    Overrides {
        config_file: given.get("config").map(PathBuf::from),
        set: set.into_iter().chain(short).collect(),
        discovered: local_router().unwrap_or_default(),
    }
}
