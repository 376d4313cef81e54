//! Bars over the time of a request.

/// Milliseconds as columns.
#[derive(Debug)]
pub(super) struct Scale {
    columns: usize,
    whole_ms: f64,
}

const WAITS: &str = "░";
const WORKS: &str = "█";

impl Scale {
    pub(super) fn new(whole_ms: f64, columns: usize) -> Self {
        Self {
            columns,
            whole_ms: whole_ms.max(f64::MIN_POSITIVE),
        }
    }

    /// From the beginning to the end.
    pub(super) fn axis(&self) -> String {
        let end = super::text::latency(self.whole_ms);
        let width = self.columns.saturating_sub(1);
        format!("0{end:>width$}")
    }

    /// Waiting first. What took any time at all can be seen.
    pub(super) fn bar(&self, began_ms: f64, waited_ms: f64, took_ms: f64) -> String {
        let start = self.column(began_ms).min(self.columns.saturating_sub(1));
        let works = self
            .column(began_ms + waited_ms)
            .clamp(start, self.columns.saturating_sub(1));
        let end = self.column(began_ms + waited_ms + took_ms.max(0.0));
        let end = end.clamp(works + 1, self.columns.max(works + 1));
        format!(
            "{}{}{}",
            " ".repeat(start),
            WAITS.repeat(works - start),
            WORKS.repeat(end - works)
        )
    }

    fn column(&self, at_ms: f64) -> usize {
        let part = (at_ms / self.whole_ms).clamp(0.0, 1.0);
        (part * self.columns as f64).round() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_stands_where_its_time_was() {
        let scale = Scale::new(100.0, 10);
        assert_eq!(scale.bar(0.0, 0.0, 100.0), "██████████");
        assert_eq!(scale.bar(20.0, 30.0, 20.0), "  ░░░██");
        assert_eq!(scale.axis(), "0 100.0 ms");
    }

    #[test]
    fn the_shortest_call_and_the_last_moment_can_be_seen() {
        let scale = Scale::new(100.0, 10);
        assert_eq!(scale.bar(0.0, 0.0, 0.01), "█");
        assert_eq!(scale.bar(100.0, 0.0, 0.0), "         █");
        assert_eq!(scale.bar(100.0, 5.0, 5.0), "         █");
        assert_eq!(Scale::new(0.0, 10).bar(0.0, 0.0, 0.0), "█");
    }
}
