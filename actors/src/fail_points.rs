//! Places at which a chaos test makes this process panic or block while it runs. Only builds with
//! the feature `testing` have them: in all others a point is an empty function.
//!
//! The variable `BEAMLINE_FAIL_POINTS` names a file with one line for each active point, such as
//! `pipeline panic 0.01` (by chance), `pipeline sleep 100` (milliseconds), `pii_guard panic 1` (the
//! start of an extension's invoker), `health panic 1` (writing health rows) or `metrics panic 1`.
//! It is read anew each time, so that a test can break and restore.

/// Does what the file says of this point: nothing, mostly.
#[cfg(any(test, feature = "testing"))]
pub fn reached(point: &str) {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let Some(file) =
        FILE.get_or_init(|| std::env::var_os("BEAMLINE_FAIL_POINTS").map(PathBuf::from))
    else {
        return;
    };
    let lines = std::fs::read_to_string(file).unwrap_or_default();
    for (action, amount) in lines.lines().filter_map(|line| action(line, point)) {
        act(point, action, amount);
    }
}

#[cfg(not(any(test, feature = "testing")))]
#[inline]
pub const fn reached(_point: &str) {}

#[cfg(any(test, feature = "testing"))]
fn action<'l>(line: &'l str, point: &str) -> Option<(&'l str, f64)> {
    let mut words = line.split_whitespace();
    (words.next()? == point).then_some(())?;
    Some((words.next()?, words.next()?.parse().ok()?))
}

#[cfg(any(test, feature = "testing"))]
#[expect(clippy::panic, reason = "that is what a test asks for")]
fn act(point: &str, action: &str, amount: f64) {
    match action {
        "panic" if fastrand::f64() < amount => panic!("the fail point {point} was reached"),
        // Blocks the thread, as a careless handler would.
        "sleep" => std::thread::sleep(std::time::Duration::from_secs_f64(amount / 1_000.0)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_point_an_action_and_an_amount() {
        assert_eq!(
            action("pipeline panic 0.01", "pipeline"),
            Some(("panic", 0.01))
        );
        for other in [
            "",
            "pipeline",
            "pipeline panic",
            "pipeline panic often",
            "invoker panic 1",
        ] {
            assert_eq!(action(other, "pipeline"), None, "{other}");
        }
    }

    #[test]
    #[should_panic(expected = "the fail point here was reached")]
    fn a_certain_panic_panics() {
        act("here", "panic", 1.0);
    }

    #[test]
    fn an_impossible_panic_does_not() {
        act("here", "panic", 0.0);
    }
}
