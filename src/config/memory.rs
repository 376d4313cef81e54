//! How much memory this process may use: the smallest limit of its control groups, else all that
//! the machine has.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// In bytes; `None` where nobody says.
pub(super) fn available() -> Option<usize> {
    let of_machine = read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total(&text));
    let of_groups = read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let files = limit_files(&text);
        files
            .iter()
            .filter_map(|file| read_to_string(file).ok()?.trim().parse().ok())
            .min()
    });
    of_machine.into_iter().chain(of_groups).min()
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn total(meminfo: &str) -> Option<usize> {
    let rest = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The limits of the process's group and of all above it, in both versions of control groups. A
/// group without a limit says `max` or a number beyond any memory.
fn limit_files(own: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _other => continue,
        };
        // Inside a container the path is often that of the host: then only the root is there.
        let groups = Path::new(path)
            .ancestors()
            .map(|group| group.strip_prefix("/").unwrap_or(group));
        files.extend(groups.map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_how_much_it_has() {
        assert_eq!(
            total("MemTotal:       16 kB\nMemFree: 1 kB\n"),
            Some(16 * 1024)
        );
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(available().is_some_and(|bytes| bytes > 1024 * 1024));
    }

    #[test]
    fn every_group_above_this_process_may_limit_it() {
        let files = limit_files("12:cpu:/x\n5:hugetlb,memory:/a\n0::/pod/container\n");
        let expected = [
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/pod/container/memory.max",
            "/sys/fs/cgroup/pod/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
    }
}
