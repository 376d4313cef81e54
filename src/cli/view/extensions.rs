//! All extensions in a table: what is registered, and how it is doing.

use std::collections::BTreeMap;

use beamline_contract::admin::{ExtensionBreakers, ExtensionHealth, ExtensionsAnswer};
use beamline_contract::fields::Fields;
use beamline_contract::record::Kind;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::look::Look;
use super::{breakers, canary, table, text};
use crate::cli::Failure;

/// Three answers in one; records and states stay as the router wrote them.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Joined<'a> {
    #[serde(flatten)]
    pub(in crate::cli) registry: ExtensionsAnswer<&'a RawValue>,
    pub(in crate::cli) health: BTreeMap<String, &'a RawValue>,
    pub(in crate::cli) states: BTreeMap<String, &'a RawValue>,
}

const HEADER: [&str; 6] = ["ID", "TYPE", "VERSION", "ENABLED", "HEALTH", "BREAKER"];
/// What is left out so that a row fits a terminal of 80 columns.
const WIDE: [&str; 3] = ["SUBJECT", "TIMEOUT", "RETRY"];

impl Joined<'_> {
    /// A router that does not know the filter answers everything.
    pub(in crate::cli) fn keep(&mut self, kind: Option<Kind>) {
        if let Some(kind) = kind {
            self.registry.extensions.retain(|record| {
                let record = Fields::parse(record.get());
                record.is_ok_and(|record| record.text("type").as_deref() == Some(kind.as_str()))
            });
        }
    }

    pub(in crate::cli) fn text(&self, wide: bool) -> Result<String, Failure> {
        if self.registry.extensions.is_empty() {
            return Ok("no extensions; `beamline-router ext create` registers one".to_owned());
        }
        let more: &[&str] = if wide { &WIDE } else { &[] };
        let mut table = table::with_header(&[&HEADER, more].concat(), &["TIMEOUT", "RETRY"]);
        for record in &self.registry.extensions {
            let record = Fields::parse(record.get()).map_err(|error| {
                Failure::Failed(format!(
                    "an extension in the answer cannot be read: {error}. See --output json."
                ))
            })?;
            let mut cells = self.row(&record);
            cells.truncate(HEADER.len() + more.len());
            table.add_row(cells);
        }
        if !wide {
            return Ok(table::text(&table));
        }
        // Who asks for all of it has room for it.
        let look = Look {
            width: usize::MAX,
            ..Look::current()
        };
        Ok(table.drawn(look).join("\n"))
    }

    /// Of a record of any version of the router: what this one does not know is shown as well.
    fn row(&self, record: &Fields) -> Vec<String> {
        let id = record.text("id").unwrap_or_default();
        let enabled = record.flag("enabled").map(yes_or_no);
        let timeout = record.number("timeout_ms");
        let retry = record.number("retry");
        let health: Option<ExtensionHealth> = entry(&self.health, &id);
        let state: Option<ExtensionBreakers> = entry(&self.states, &id);
        let cells = [
            record.text("id"),
            record.text("type"),
            canary::versions(record),
            enabled.map(str::to_owned),
            health.map(|health| health.figures.status.into_owned()),
            state.map(|state| breakers::state(&state)),
            record.text("subject"),
            timeout.map(|timeout| format!("{timeout} ms")),
            retry.map(|retry| retry.to_string()),
        ];
        let cells = cells.iter().map(|cell| text::or_dash(cell.as_deref()));
        cells.collect()
    }
}

fn yes_or_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

fn entry<'a, T: Deserialize<'a>>(entries: &BTreeMap<String, &'a RawValue>, id: &str) -> Option<T> {
    serde_json::from_str(entries.get(id)?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = r#"{"ok":true,"revision":12,"extensions":[
        {"id":"normalize_text","type":"pre","subject":"beamline.ext.pre.normalize_text.v1","timeout_ms":80,"retry":1,
         "enabled":true,"version":"v1","config":{"limit":1.50},"metadata":{},
         "versions":[{"version":"v2","routing_rules":{"percent":2.5}}]},
        {"id":"agent","type":"provider","subject":null,"timeout_ms":5000,"retry":0,"enabled":false,"version":"v2"}]}"#;
    const HEALTH: &str =
        r#"{"normalize_text":{"status":"degraded","success_rate":0.9,"requests":10}}"#;
    const STATES: &str =
        r#"{"normalize_text":{"state":"half_open","failure_count":3},"gone":{"state":"closed"}}"#;

    fn joined() -> Joined<'static> {
        Joined {
            registry: serde_json::from_str(REGISTRY).expect("an answer"),
            health: serde_json::from_str(HEALTH).expect("entries"),
            states: serde_json::from_str(STATES).expect("entries"),
        }
    }

    #[test]
    fn registry_health_and_breakers_share_a_table() {
        let expected = "\
ID              TYPE      VERSION         ENABLED  HEALTH    BREAKER
normalize_text  pre       v1 (+v2 2.5 %)  yes      degraded  half_open
agent           provider  v2              no       -         -";
        assert_eq!(joined().text(false).expect("a table"), expected);
        let wide = joined().text(true).expect("a table");
        let ends = "  SUBJECT                             TIMEOUT  RETRY";
        assert!(
            wide.lines().next().is_some_and(|line| line.ends_with(ends)),
            "{wide}"
        );
    }

    #[test]
    fn a_filter_holds_even_when_the_router_ignores_it() {
        let mut joined = joined();
        joined.keep(Some(Kind::Provider));
        assert_eq!(joined.registry.extensions.len(), 1);
        joined.keep(Some(Kind::Post));
        assert_eq!(
            joined.text(false).expect("a text"),
            "no extensions; `beamline-router ext create` registers one"
        );
    }

    #[test]
    fn records_stay_as_the_router_wrote_them() {
        let document = serde_json::to_string(&joined()).expect("JSON");
        assert!(
            document.contains(r#""config":{"limit":1.50}"#),
            "{document}"
        );
    }
}
