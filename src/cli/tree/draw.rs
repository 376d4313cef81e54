//! The supervision tree as text: a pure function from what the router answered to what a terminal shows.

use serde::Deserialize;

use crate::cli::{table, text};

/// The answer to `supervision_tree`.
#[derive(Debug, Deserialize)]
pub(super) struct Picture {
    router: Router,
    tree: Node,
}

#[derive(Debug, Deserialize)]
struct Router {
    #[serde(default)]
    instance_id: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    uptime_ms: u64,
    #[serde(default)]
    status: String,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    registry_source: String,
    #[serde(default)]
    stale_seconds: f64,
    pressure: Option<String>,
    #[serde(default)]
    lag_ms: f64,
    #[serde(default)]
    memory_used: f64,
}

#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    status: String,
    #[serde(default)]
    uptime_ms: u64,
    #[serde(default)]
    restarts: u64,
    #[serde(default)]
    restarts_in_window: u64,
    last_exit: Option<String>,
    #[serde(default)]
    queue_depth: u64,
    in_flight: Option<u64>,
    limit: Option<u64>,
    ceiling: Option<u64>,
    waiting: Option<u64>,
    #[serde(default)]
    handled: u64,
    breaker: Option<Breaker>,
    success_rate: Option<f64>,
    #[serde(default)]
    omitted_children: u64,
    #[serde(default)]
    children: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Breaker {
    state: String,
}

const HEADER: [&str; 11] = [
    "NAME",
    "STATUS",
    "UPTIME",
    "RESTARTS",
    "LAST EXIT",
    "QUEUE",
    "IN-FLIGHT",
    "WAITING",
    "HANDLED",
    "BREAKER",
    "SUCCESS",
];
const NUMBERS: [&str; 7] = [
    "UPTIME",
    "RESTARTS",
    "QUEUE",
    "IN-FLIGHT",
    "WAITING",
    "HANDLED",
    "SUCCESS",
];

/// A last exit may be a whole panic message; the rest of it is in the logs.
const LAST_EXIT_LENGTH: usize = 40;

/// The router in one line, then a row for each node.
pub(super) fn frame(picture: &Picture, colour: bool) -> String {
    let mut rows = Vec::new();
    collect(&picture.tree, "", "", &mut rows);

    let mut table = table::with_header(&HEADER, &NUMBERS);
    table.add_rows(rows.iter().map(|row| row.cells.iter().map(String::as_str)));
    let drawn = table::lines(&table);

    let mut lines = vec![headline(&picture.router), String::new()];
    lines.extend(drawn.iter().take(1).cloned());
    lines.extend(drawn.iter().skip(1).zip(&rows).map(|(line, row)| {
        if colour {
            row.coloured(line)
        } else {
            line.clone()
        }
    }));
    lines.join("\n")
}

fn headline(router: &Router) -> String {
    let age = if router.stale_seconds >= 1.0 {
        format!(
            ", {} old",
            text::duration((router.stale_seconds * 1000.0) as u64)
        )
    } else {
        String::new()
    };
    // Nobody needs to read of a pressure that is not there.
    let pressure = router
        .pressure
        .as_deref()
        .filter(|level| *level != "none")
        .map(|level| {
            let memory = text::percentage(router.memory_used);
            format!(
                "; pressure {level}: {memory} of the memory in use, timers {:.0} ms late",
                router.lag_ms
            )
        });
    text::plain(&format!(
        "router {} {} ({}), {} for {}; registry revision {} from {}{age}{}",
        router.version,
        router.instance_id,
        router.environment,
        router.status,
        text::duration(router.uptime_ms),
        router.revision,
        router.registry_source,
        pressure.unwrap_or_default(),
    ))
}

/// One line of the table, and what is needed to find its status again when it is coloured.
struct Row {
    cells: Vec<String>,
    status: String,
}

/// `lead` stands before the node itself, `below` before everything under it.
fn collect(node: &Node, lead: &str, below: &str, rows: &mut Vec<Row>) {
    rows.push(Row {
        cells: cells(node, lead),
        status: node.status.clone(),
    });
    let omitted = node.omitted_children > 0;
    for (position, child) in node.children.iter().enumerate() {
        let last = position + 1 == node.children.len() && !omitted;
        let (branch, under) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        collect(
            child,
            &format!("{below}{branch}"),
            &format!("{below}{under}"),
            rows,
        );
    }
    if omitted {
        rows.push(Row {
            cells: vec![format!("{below}└─ … {} more", node.omitted_children)],
            status: String::new(),
        });
    }
}

fn cells(node: &Node, lead: &str) -> Vec<String> {
    let restarts = match node.restarts_in_window {
        0 => node.restarts.to_string(),
        recent => format!("{} ({recent})", node.restarts),
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        format!("{lead}{}", text::plain(&node.name)),
        text::plain(&node.status),
        text::duration(node.uptime_ms),
        restarts,
        or_dash(
            node.last_exit
                .as_deref()
                .map(|reason| text::shortened(reason, LAST_EXIT_LENGTH)),
        ),
        node.queue_depth.to_string(),
        or_dash(
            node.in_flight
                .map(|number| match (node.limit, node.ceiling) {
                    (Some(limit), Some(ceiling)) if limit < ceiling => {
                        format!("{number}/{limit} of {ceiling}")
                    }
                    (Some(limit), _) => format!("{number}/{limit}"),
                    (None, _) => number.to_string(),
                }),
        ),
        or_dash(node.waiting.map(|number| number.to_string())),
        node.handled.to_string(),
        or_dash(
            node.breaker
                .as_ref()
                .map(|breaker| text::plain(&breaker.state)),
        ),
        or_dash(node.success_rate.map(text::percentage)),
    ]
}

impl Row {
    /// Colours the status. The name before it may hold the same word, so the search starts behind the name.
    fn coloured(&self, line: &str) -> String {
        let name = self.cells.first().map_or(0, String::len);
        let colour = match self.status.as_str() {
            "running" => "32",
            "starting" | "restarting" | "draining" => "33",
            "failed" => "31",
            "stopped" => "90",
            _ => return line.to_owned(),
        };
        match line.split_at_checked(name) {
            Some((name, rest)) => {
                let status = format!("\u{1b}[{colour}m{}\u{1b}[0m", self.status);
                format!("{name}{}", rest.replacen(&self.status, &status, 1))
            }
            None => line.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
