//! What a cell says about how things are, as a colour.

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const GREY: &str = "90";
/// Fewer of the calls that succeed are trouble.
const GOOD_SHARE: f64 = 90.0;

/// A line of a table with the cells coloured that say something. They stand in it one after the
/// other with nothing but space between them.
pub(super) fn coloured(line: &str, header: &[String], row: &[String]) -> String {
    let mut painted = String::with_capacity(line.len() + 16);
    let mut rest = line;
    for (name, cell) in header.iter().zip(row) {
        let Some((space, after)) = rest.split_once(cell.trim_end()) else {
            break;
        };
        painted.push_str(space);
        match of(name, cell) {
            Some(colour) => painted.push_str(&format!("\u{1b}[{colour}m{cell}\u{1b}[0m")),
            None => painted.push_str(cell.trim_end()),
        }
        rest = after;
    }
    painted.push_str(rest);
    painted
}

/// The colour of a cell, by the name of its column.
fn of(column: &str, cell: &str) -> Option<&'static str> {
    match column {
        "STATUS" | "STATE" | "HEALTH" | "BREAKER" | "FLEET" => of_state(cell),
        "ENABLED" => (cell == "no").then_some(YELLOW),
        "LAST EXIT" => cell.starts_with("panicked").then_some(RED),
        "SUCCESS" => {
            let share: f64 = cell.trim_end_matches('%').parse().ok()?;
            (share < GOOD_SHARE).then_some(RED)
        }
        _ => None,
    }
}

fn of_state(state: &str) -> Option<&'static str> {
    let word = state.split([' ', ',']).next().unwrap_or_default();
    match word {
        "open" | "forced_open" | "unhealthy" | "error" | "timeout" | "rejected" | "failed" => {
            Some(RED)
        }
        "half_open" | "degraded" | "starting" | "restarting" | "draining" | "pending" => {
            Some(YELLOW)
        }
        "running" => Some(GREEN),
        "stopped" => Some(GREY),
        // Of migrations: what only a person can bring in order.
        "applied" | "from" => (state != "applied").then_some(RED),
        _ => None,
    }
}
