//! The supervision tree as text: a pure function from what the router answered to what a terminal
//! shows.

use beamline_contract::admin::{NodeBreaker, RouterStatus, SupervisionTreeAnswer, TreeNode};

use super::{table, text};

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
pub(in crate::cli) fn frame(answer: &SupervisionTreeAnswer, colour: bool) -> String {
    let mut rows = Vec::new();
    if let Some(root) = &answer.tree {
        collect(root, "", "", &mut rows);
    }

    let mut table = table::with_header(&HEADER, &NUMBERS);
    table.add_rows(rows.iter().map(|row| row.cells.iter().map(String::as_str)));
    let drawn = table::lines(&table);

    let mut lines = vec![headline(&answer.router), String::new()];
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

fn headline(router: &RouterStatus) -> String {
    let age = match router.stale_seconds {
        0 => String::new(),
        seconds => format!(", {} old", text::duration(seconds.saturating_mul(1000))),
    };
    // Nobody needs to read of a pressure that is not there.
    let pressure = match &*router.pressure {
        "" | "none" => String::new(),
        level => format!(
            "; pressure {level}: {} of the memory in use, timers {:.0} ms late",
            text::percentage(router.memory_used),
            router.lag_ms
        ),
    };
    text::plain(&format!(
        "router {} {} ({}), {} for {}; registry revision {} from {}{age}{pressure}",
        router.version,
        router.instance_id,
        router.environment,
        router.status,
        text::duration(router.uptime_ms),
        router.revision,
        router.registry_source,
    ))
}

/// One line of the table, and what is needed to find its status again when it is coloured.
struct Row {
    cells: Vec<String>,
    status: String,
}

/// `lead` stands before the node itself, `below` before everything under it.
fn collect(node: &TreeNode, lead: &str, below: &str, rows: &mut Vec<Row>) {
    rows.push(Row {
        cells: cells(node, lead),
        status: node.status.to_string(),
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

fn cells(node: &TreeNode, lead: &str) -> Vec<String> {
    let restarts = match node.restarts_in_window {
        0 => node.restarts.to_string(),
        recent => format!("{} ({recent})", node.restarts),
    };
    let last_exit = node.last_exit.as_deref();
    let breaker = node.breaker.as_ref();
    vec![
        format!("{lead}{}", text::plain(&node.name)),
        text::plain(&node.status),
        text::duration(node.uptime_ms),
        restarts,
        or_dash(last_exit.map(|reason| text::shortened(reason, LAST_EXIT_LENGTH))),
        node.queue_depth.to_string(),
        or_dash(node.in_flight.map(|number| in_flight(number, node))),
        or_dash(node.waiting.map(|number| number.to_string())),
        node.handled.to_string(),
        or_dash(breaker.map(met)),
        or_dash(node.success_rate.map(text::percentage)),
    ]
}

/// What the next call meets, and at which version.
fn met(breaker: &NodeBreaker) -> String {
    let version = breaker.version.as_deref().map(|at| format!(" ({at})"));
    text::plain(&format!("{}{}", breaker.state, version.unwrap_or_default()))
}

fn in_flight(number: u64, node: &TreeNode) -> String {
    match (node.limit, node.ceiling) {
        (Some(limit), Some(ceiling)) if limit < ceiling => {
            format!("{number}/{limit} of {ceiling}")
        }
        (Some(limit), _) => format!("{number}/{limit}"),
        (None, _) => number.to_string(),
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

impl Row {
    /// Colours the status. The name before it may hold the same word, so the search starts behind
    /// the name.
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
