//! The logs of earlier runs. Each run has a directory, the last one is number 1.

use std::fs;
use std::io;
use std::path::Path;

/// Runs besides the present one.
const KEPT_RUNS: u32 = 4;
/// Bytes of one log that outlive their run: its end says how the run ended.
const KEPT_BYTES: u64 = 8 * 1024 * 1024;

/// Makes room for a new run: its predecessor's logs become number 1, and the oldest go.
pub(super) fn put_away(logs: &Path) -> io::Result<()> {
    let last = logs_in(logs)?;
    if last.is_empty() {
        return Ok(());
    }
    let runs = logs.join("earlier");
    let run = |number: u32| runs.join(number.to_string());
    fs::create_dir_all(&runs)?;
    if_there(fs::remove_dir_all(run(KEPT_RUNS)))?;
    for number in (1..KEPT_RUNS).rev() {
        if_there(fs::rename(run(number), run(number + 1)))?;
    }
    fs::create_dir_all(run(1))?;
    for log in last {
        let from = logs.join(&log);
        keep_the_end(&from)?;
        fs::rename(from, run(1).join(log))?;
    }
    Ok(())
}

fn logs_in(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_log = Path::new(&entry.file_name())
            .extension()
            .is_some_and(|kind| kind == "log");
        if is_log && entry.file_type()?.is_file() {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}

/// Cuts a large log at its front, in front of a whole line.
fn keep_the_end(log: &Path) -> io::Result<()> {
    use std::io::{BufRead, BufReader, Seek, SeekFrom};

    let mut file = fs::File::open(log)?;
    let size = file.metadata()?.len();
    if size <= KEPT_BYTES {
        return Ok(());
    }
    file.seek(SeekFrom::Start(size - KEPT_BYTES))?;
    let mut rest = BufReader::new(file);
    rest.skip_until(b'\n')?;
    let shorter = log.with_extension("log.end");
    io::copy(&mut rest, &mut fs::File::create(&shorter)?)?;
    fs::rename(shorter, log)
}

fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(logs: &Path, name: &str) -> Option<String> {
        fs::read_to_string(logs.join(name)).ok()
    }

    #[test]
    fn the_logs_of_the_last_runs_stay_and_older_ones_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let logs = directory.path();
        for run in 0..7 {
            put_away(logs).expect("put away");
            assert_eq!(read(logs, "router.log"), None, "a run starts with its own");
            fs::write(logs.join("router.log"), format!("run {run}")).expect("written");
        }
        let kept = [1, 2, 3, 4, 5].map(|run| read(logs, &format!("earlier/{run}/router.log")));
        let kept = kept.each_ref().map(Option::as_deref);
        let want = [
            Some("run 5"),
            Some("run 4"),
            Some("run 3"),
            Some("run 2"),
            None,
        ];
        assert_eq!(kept, want);
    }

    #[test]
    fn a_run_without_logs_pushes_nothing_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let logs = directory.path();
        fs::write(logs.join("router.log"), "one").expect("written");
        for _ in 0..9 {
            put_away(logs).expect("put away");
        }
        assert_eq!(read(logs, "earlier/1/router.log").as_deref(), Some("one"));
    }

    #[test]
    fn of_a_large_log_the_end_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let logs = directory.path();
        let size = usize::try_from(KEPT_BYTES).expect("a size");
        let text = format!("{}\nhow it ended\n", "x".repeat(size));
        fs::write(logs.join("router.log"), text).expect("written");
        put_away(logs).expect("put away");
        assert_eq!(
            read(logs, "earlier/1/router.log").as_deref(),
            Some("how it ended\n")
        );
    }
}
