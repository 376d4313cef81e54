//! What all replicas serve, as tables with sparklines.

use std::collections::BTreeMap;

use beamline_contract::admin::{CallPlaces, StatsAnswer, StatsCount, StatsStep};

use super::look::Look;
use super::{table, text};

/// Rows of a table; the busiest come first.
const MOST_ROWS: usize = 20;
/// Rates are those of about so long.
const RECENT_MS: u64 = 60_000;

/// All replicas as one.
struct Whole {
    /// The oldest first.
    steps: Vec<StatsStep>,
    /// How many of the newest steps are recent, and how long they are together.
    recent: usize,
    recent_s: f64,
}

pub(in crate::cli) fn frame(
    stats: &StatsAnswer,
    places: &BTreeMap<String, CallPlaces>,
    now_ms: u64,
    last: &str,
    look: Look,
) -> String {
    let whole = Whole::of(stats, now_ms);
    let requests: Vec<StatsCount> = whole.steps.iter().map(|step| step.requests).collect();
    let now = whole.recent(&requests);
    let head = format!(
        "{}: {} requests a second, {} not ok, {} on average, {} at most; sparklines: the last {last}",
        text::count(stats.replicas.len(), "replica"),
        whole.rate(now),
        share(now),
        mean(now),
        text::latency(now.longest_ms),
    );
    let mut lines = text::wrapped(&head, look.width);
    lines.push(format!(
        "requests  {}",
        sparkline(requests.iter().map(|count| count.count))
    ));
    lines.push(format!(
        "not ok    {}",
        sparkline(requests.iter().map(|count| count.failed))
    ));
    lines.push(String::new());
    let header = [
        "EXTENSION",
        "CALLS/S",
        "FAILED",
        "MEAN",
        "LONGEST",
        "PLACES",
        "",
    ];
    let extensions = whole.by_name(|step| &step.extensions);
    let mut extensions = extensions.into_iter();
    let mut shown = table::with_header(&header, &header[1..6]).sparing(&["LONGEST", ""]);
    for (name, counts) in extensions.by_ref().take(MOST_ROWS) {
        let places = places.get(name);
        let places = places.map(|places| format!("{}/{}", places.in_flight, places.limit));
        let mut row = whole.row(name, &counts);
        row.insert(5, text::or_dash(places.as_deref()));
        shown.add_row(row);
    }
    lines.extend(shown.drawn(look));
    lines.push(String::new());
    let header = ["TENANT", "REQUESTS/S", "NOT OK", "MEAN", "LONGEST", ""];
    let mut shown = table::with_header(&header, &header[1..5]).sparing(&["LONGEST", ""]);
    for (name, counts) in whole
        .by_name(|step| &step.tenants)
        .into_iter()
        .take(MOST_ROWS)
    {
        shown.add_row(whole.row(name, &counts));
    }
    lines.extend(shown.drawn(look));
    lines.join("\n")
}

impl Whole {
    fn of(stats: &StatsAnswer, now_ms: u64) -> Self {
        let mut steps: BTreeMap<u64, StatsStep> = BTreeMap::new();
        let mut step_ms = 1;
        for replica in &stats.replicas {
            step_ms = replica.step_ms.max(step_ms);
            for step in &replica.steps {
                let into = steps.entry(step.at_ms).or_default();
                into.at_ms = step.at_ms;
                into.requests.add(step.requests);
                for (from, into) in [
                    (&step.extensions, &mut into.extensions),
                    (&step.tenants, &mut into.tenants),
                ] {
                    for (name, count) in from {
                        into.entry(name.clone()).or_default().add(*count);
                    }
                }
            }
        }
        let steps: Vec<StatsStep> = steps.into_values().collect();
        let recent = usize::try_from(RECENT_MS / step_ms).unwrap_or(1).max(1);
        let first = steps.len().saturating_sub(recent);
        let began = steps.get(first).map_or(now_ms, |step| step.at_ms);
        Self {
            steps,
            recent,
            recent_s: (now_ms.saturating_sub(began).max(1_000)) as f64 / 1_000.0,
        }
    }

    /// Of each name all steps; the busiest name first.
    fn by_name<'w>(
        &'w self,
        names: impl Fn(&'w StatsStep) -> &'w BTreeMap<String, StatsCount>,
    ) -> Vec<(&'w str, Vec<StatsCount>)> {
        let mut all: BTreeMap<&str, Vec<StatsCount>> = BTreeMap::new();
        for (place, step) in self.steps.iter().enumerate() {
            for (name, count) in names(step) {
                let counts = all
                    .entry(name)
                    .or_insert_with(|| vec![StatsCount::default(); self.steps.len()]);
                if let Some(slot) = counts.get_mut(place) {
                    slot.add(*count);
                }
            }
        }
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|(_, counts)| std::cmp::Reverse(self.recent(counts).count));
        all
    }

    fn recent(&self, counts: &[StatsCount]) -> StatsCount {
        let mut sum = StatsCount::default();
        counts
            .iter()
            .rev()
            .take(self.recent)
            .for_each(|count| sum.add(*count));
        sum
    }

    fn rate(&self, count: StatsCount) -> String {
        format!("{:.1}", count.count as f64 / self.recent_s)
    }

    fn row(&self, name: &str, counts: &[StatsCount]) -> Vec<String> {
        let now = self.recent(counts);
        vec![
            text::plain(name),
            self.rate(now),
            share(now),
            mean(now),
            text::latency(now.longest_ms),
            sparkline(counts.iter().map(|count| count.count)),
        ]
    }
}

fn share(count: StatsCount) -> String {
    if count.count == 0 {
        return "-".to_owned();
    }
    text::percentage(count.failed as f64 / count.count as f64)
}

fn mean(count: StatsCount) -> String {
    if count.count == 0 {
        return "-".to_owned();
    }
    text::latency(count.total_ms / count.count as f64)
}

const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Nothing at all is a dot.
fn sparkline(values: impl Iterator<Item = u64> + Clone) -> String {
    let most = values.clone().max().unwrap_or_default().max(1);
    let height = |value: u64| {
        let eighth = (value * 8).div_ceil(most).clamp(1, 8) - 1;
        usize::try_from(eighth)
            .ok()
            .and_then(|eighth| HEIGHTS.get(eighth))
            .copied()
    };
    values
        .map(|value| {
            if value == 0 {
                '·'
            } else {
                height(value).unwrap_or('█')
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use beamline_contract::admin::ReplicaStats;
    use serde_json::json;

    use super::*;

    fn stats() -> StatsAnswer {
        let step = |at_ms: u64, count: u64, failed: u64| {
            let figures = json!({"count": count, "failed": failed, "total_ms": count * 10, "longest_ms": 40.0});
            json!({"at_ms": at_ms, "requests": figures, "extensions": {"guard": figures}, "tenants": {"acme": figures}})
        };
        let replica = |id: &str| -> ReplicaStats {
            let steps = [step(0, 8, 0), step(10_000, 0, 0), step(20_000, 4, 2)];
            serde_json::from_value(json!({"replica_id": id, "step_ms": 10_000, "steps": steps}))
                .expect("stats")
        };
        StatsAnswer {
            ok: true,
            replicas: vec![replica("a"), replica("b")],
        }
    }

    #[test]
    fn replicas_are_added_up() {
        let places = BTreeMap::from([(
            "guard".to_owned(),
            CallPlaces {
                in_flight: 3,
                waiting: 0,
                limit: 20,
                ceiling: 20,
            },
        )]);
        let drawn = frame(&stats(), &places, 24_000, "30s", Look::PLAIN);
        let expected = "\
2 replicas: 1.0 requests a second, 16.7% not ok, 10.0 ms on average, 40.0 ms at most; sparklines: the last 30s
requests  █·▄
not ok    ··█

EXTENSION  CALLS/S  FAILED     MEAN  LONGEST  PLACES
guard          1.0   16.7%  10.0 ms  40.0 ms    3/20  █·▄

TENANT  REQUESTS/S  NOT OK     MEAN  LONGEST
acme           1.0   16.7%  10.0 ms  40.0 ms  █·▄";
        assert_eq!(drawn, expected, "\n{drawn}");
    }

    #[test]
    fn a_quiet_router_has_no_figures() {
        let quiet = StatsAnswer {
            ok: true,
            replicas: Vec::new(),
        };
        let drawn = frame(&quiet, &BTreeMap::new(), 0, "10m", Look::PLAIN);
        assert!(
            drawn.starts_with("0 replicas: 0.0 requests a second, - not ok, - on average"),
            "{drawn}"
        );
    }

    #[test]
    fn what_a_router_says_writes_nothing_to_the_terminal_but_text() {
        let mut stats = stats();
        for step in &mut stats.replicas[0].steps {
            let figures = step.requests;
            step.tenants.insert("\u{1b}[2J".to_owned(), figures);
        }
        assert!(!frame(&stats, &BTreeMap::new(), 0, "10m", Look::PLAIN).contains('\u{1b}'));
    }
}
