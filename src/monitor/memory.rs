//! What this process itself holds. Not what its control group uses: that has the page cache in it,
//! and neighbours, and refusing requests would not take from them.

use std::fs::read_to_string;

/// Of so many bytes; `None` where nobody says.
pub(super) fn share_of(limit: usize) -> Option<f64> {
    let held = held(&read_to_string("/proc/self/status").ok()?)?;
    Some(held as f64 / limit.max(1) as f64)
}

/// Bytes that are in memory and in no file.
fn held(status: &str) -> Option<u64> {
    let field = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some((field("RssAnon:")? + field("RssShmem:").unwrap_or_default()) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_counts_and_files_do_not() {
        let status = "Name:\tx\nVmRSS:\t  90 kB\nRssAnon:\t      30 kB\nRssFile:\t  50 kB\nRssShmem:\t  10 kB\n";
        assert_eq!(held(status), Some(40 * 1024));
        assert_eq!(held("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_holds_something() {
        assert!(share_of(1024).is_some_and(|share| share > 1.0));
    }
}
