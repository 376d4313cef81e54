//! The page about the metrics says what the table says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::table::{Described, Kind, SECTIONS};

const WRITE: &str = "BEAMLINE_WRITE_DOCS";
const BEGIN: &str = "<!-- The table of the router's source begins. -->\n";
const END: &str = "<!-- It ends. -->\n";

fn all() -> impl Iterator<Item = &'static Described> {
    SECTIONS
        .iter()
        .flat_map(|section| section.metrics.iter().copied())
}

fn table() -> String {
    let mut page = String::new();
    for section in SECTIONS {
        let _ = writeln!(page, "\n## {}\n", section.title);
        page.push_str("| metric | type | labels | what it says |\n|---|---|---|---|\n");
        for metric in section.metrics {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
                Kind::Info => "info",
            };
            let labels: Vec<String> = metric
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect();
            let (name, labels) = (metric.full_name(), labels.join(", "));
            let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {} |", metric.help);
        }
    }
    page.push('\n');
    page
}

#[test]
fn the_page_is_made_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = std::fs::read_to_string(&path).expect("docs/metrics.md");
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let right = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &right).expect("written");
    } else {
        assert_eq!(page, right, "{WRITE}=1 writes it anew");
    }
}

#[test]
fn each_metric_stands_once_and_is_named_as_the_field_does() {
    let mut names = BTreeSet::new();
    for metric in all() {
        assert!(names.insert(metric.name), "{} stands twice", metric.name);
        assert!(!metric.name.ends_with("_total"), "{}", metric.name);
        assert!(
            !metric.name.contains("milli"),
            "{}: base units",
            metric.name
        );
        assert!(!metric.help.ends_with('.'), "{}", metric.help);
        let is_duration = metric.name.contains("duration") || metric.name.contains("latency");
        assert!(
            !is_duration || metric.name.ends_with("_seconds"),
            "{}",
            metric.name
        );
    }
}
