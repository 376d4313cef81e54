//! The supervision tree as text: a pure function from what the router answered to what a terminal
//! shows.

use beamline_contract::admin::{NodeBreaker, RouterStatus, SupervisionTreeAnswer, TreeNode};

use super::look::Look;
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

/// What goes first where there is no room. Restarts and breakers are what people look for.
const SPARE: &[&str] = &["HANDLED", "WAITING", "UPTIME", "IN-FLIGHT", "QUEUE"];

/// The router in one line, then a row for each node.
pub(in crate::cli) fn frame(answer: &SupervisionTreeAnswer, look: Look) -> String {
    let mut rows = Vec::new();
    if let Some(root) = &answer.tree {
        collect(root, "", "", &mut rows);
    }
    let mut table = table::with_header(&HEADER, &NUMBERS).sparing(SPARE);
    for row in rows {
        table.add_row(row);
    }
    let mut lines = text::wrapped(&headline(&answer.router), look.width);
    lines.push(String::new());
    lines.extend(table.drawn(look));
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

/// `lead` stands before the node itself, `below` before everything under it.
fn collect(node: &TreeNode, lead: &str, below: &str, rows: &mut Vec<Vec<String>>) {
    rows.push(cells(node, lead));
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
        rows.push(vec![format!("{below}└─ … {} more", node.omitted_children)]);
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
        handled(node),
        or_dash(breaker.map(met)),
        or_dash(node.success_rate.map(text::percentage)),
    ]
}

/// With what somebody tried who may not.
fn handled(node: &TreeNode) -> String {
    match node.security_events {
        Some(events) if events > 0 => format!("{} ({events} refused)", node.handled),
        Some(_) | None => node.handled.to_string(),
    }
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

#[cfg(test)]
mod tests;
