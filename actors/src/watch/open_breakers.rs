//! Which breakers are open, in a small file: a router that is started again goes on keeping calls
//! back, instead of finding out anew with the calls of its users. The database cannot tell, because
//! a replica has another name after its restart.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

use crate::disk;
use crate::invokers::Invokers;
use crate::targets::OpenBreaker;
use beamline_contract::failure::FailureKind;
use beamline_contract::record::ExtensionRecord;
use beamline_contract::time::{read_time, write_time};
use beamline_domain::record;
use beamline_domain::target::breaker::{Breaker, OpenReason, Opening, Settings};

/// Writes are at least this far apart; whatever changes between them goes with the next one.
const EVERY: Duration = Duration::from_secs(1);
const FORMAT: u32 = 1;
/// Lines that are written, and the size of a file that is read.
const MOST_LINES: usize = 10_000;
const LARGEST: u64 = 16 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Copy {
    format: u32,
    breakers: Vec<Line>,
}

/// One open breaker. Times are of the wall clock, which is all that outlives a process.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    extension_id: String,
    subject: String,
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    until: SystemTime,
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    opened_at: SystemTime,
    reason: OpenReason,
    /// What the failure was about; older routers do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// Open times in a row.
    level: u32,
    /// The operators' resets that it had followed; one more since then, and it is closed.
    resets: u64,
}

/// Writes after every change, for as long as it is not dropped.
pub(super) async fn keep(invokers: Invokers, path: PathBuf) {
    let mut transitions = invokers.transitions();
    // After a panic, changes may have been missed.
    let copy = copy_of(&invokers);
    if !copy.breakers.is_empty() || path.exists() {
        write_apart(&path, copy).await;
    }
    let mut next = Instant::now();
    loop {
        match transitions.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        sleep_until(next).await;
        while transitions.try_recv().is_ok() {}
        write_apart(&path, copy_of(&invokers)).await;
        next = Instant::now() + EVERY;
    }
}

/// Opens what was open when the last process wrote the file, if that time is not over. Never longer
/// than the extension's longest open time, so that a clock that was set back does no harm.
pub(super) fn reopen(invokers: &Invokers, path: &Path) {
    let copy = read(path);
    let wall = SystemTime::now();
    let snapshot = invokers.registry().snapshot();
    let mut opened = 0;
    for line in copy.breakers {
        let Some(extension) = snapshot.extension(&line.extension_id) else {
            continue;
        };
        if let Some(breaker) = line.breaker(extension, wall) {
            invokers
                .insert(&extension.id)
                .reopen(&line.subject.into(), breaker);
            opened += 1;
        }
    }
    if opened > 0 {
        tracing::info!(
            opened,
            "breakers that were open before the restart are open again"
        );
    }
}

fn copy_of(invokers: &Invokers) -> Copy {
    let now = Instant::now().into_std();
    let wall = SystemTime::now();
    let mut breakers = Vec::new();
    for invoker in invokers.all() {
        let line = |subject: &Arc<str>, open: OpenBreaker| Line {
            extension_id: invoker.id.to_string(),
            subject: subject.to_string(),
            until: wall + open.until.saturating_duration_since(now),
            opened_at: wall - now.saturating_duration_since(open.last.at),
            reason: open.last.reason,
            class: open.last.class.map(|class| class.to_string()),
            level: open.level,
            resets: invoker.resets(),
        };
        let targets = invoker.targets();
        breakers.extend(
            targets
                .iter()
                .filter_map(|target| Some(line(&target.subject, target.open_breaker()?))),
        );
    }
    breakers.truncate(MOST_LINES);
    Copy {
        format: FORMAT,
        breakers,
    }
}

/// Nobody waits for the disk but this task.
async fn write_apart(path: &Path, copy: Copy) {
    let to = path.to_owned();
    let _ = tokio::task::spawn_blocking(move || write(&to, &copy)).await;
}

fn write(path: &Path, copy: &Copy) {
    let written = serde_json::to_vec(copy)
        .map_err(std::io::Error::other)
        .and_then(|json| disk::replace(path, &json));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "which breakers are open could not be kept on disk");
    }
}

/// What cannot be read is as good as nothing.
fn read(path: &Path) -> Copy {
    let nothing = Copy {
        format: FORMAT,
        breakers: Vec::new(),
    };
    let json = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return nothing,
        Ok(file) if file.len() > LARGEST => Err("it is too large".to_owned()),
        Ok(_) | Err(_) => fs::read(path).map_err(|error| error.to_string()),
    };
    let copy = json
        .and_then(|json| serde_json::from_slice::<Copy>(&json).map_err(|error| error.to_string()));
    match copy {
        Ok(copy) if copy.format == FORMAT => return copy,
        Ok(copy) => {
            tracing::warn!(path = %path.display(), copy.format, "open breakers on disk are of another format")
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), error, "open breakers on disk cannot be read")
        }
    }
    nothing
}

impl Line {
    /// The breaker as it was; nothing when it has no business here any more.
    fn breaker(&self, extension: &ExtensionRecord, wall: SystemTime) -> Option<Breaker> {
        let timeout = Duration::from_millis(extension.timeout_ms);
        let longest =
            Settings::new(extension.kind, timeout, &extension.breaker).longest_open_time();
        let left = self.until.duration_since(wall).ok()?.min(longest);
        if left.is_zero()
            || self.resets != extension.breaker_resets()
            || record::listener(extension, &self.subject).is_none()
        {
            return None;
        }
        let now = Instant::now().into_std();
        let ago = wall.duration_since(self.opened_at).unwrap_or_default();
        let last = Opening {
            at: now.checked_sub(ago).unwrap_or(now),
            reason: self.reason,
            class: self.class.as_deref().and_then(FailureKind::parse),
        };
        Some(Breaker::still_open(now + left, self.level, last))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::invokers::Invokers;
    use crate::metrics::Metrics;
    use crate::registry::{Registry, RegistrySettings};
    use crate::testing::{MemoryStore, MemoryTransport, content};
    use crate::tree::OwnedTask;
    use beamline_contract::record::{BreakerOverrides, Kind};
    use beamline_domain::target::breaker::{Mode, Outcome};

    const SUBJECT: &str = "p.ext.pre.clean.v1";

    /// A file of its own that goes with the test.
    struct TempFile(PathBuf);

    impl TempFile {
        fn new() -> Self {
            let name = format!(
                "open-breakers-{}-{}.json",
                std::process::id(),
                fastrand::u64(..)
            );
            Self(std::env::temp_dir().join(name))
        }

        fn holding(lines: &str) -> Self {
            let place = Self::new();
            fs::write(&place.0, lines).unwrap();
            place
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn invokers(record: &str) -> Invokers {
        let content = content(&[record], &[]);
        let settings = RegistrySettings {
            poll_interval: Duration::from_secs(5),
            disk_copy: None,
        };
        let registry = Registry::new(
            MemoryStore::new(content.clone()),
            settings,
            Metrics::default(),
            Some((content, true)),
        );
        Invokers::new(MemoryTransport::new(), registry, Metrics::default())
    }

    fn clean() -> Invokers {
        invokers(
            r#"{"id": "clean", "type": "pre", "breaker": {"jitter": 0, "open_cap_ms": 30000}}"#,
        )
    }

    fn line(until: SystemTime, more: &str) -> String {
        let until = humantime::format_rfc3339_millis(until);
        format!(
            r#"{{"format": 1, "breakers": [{{"extension_id": "clean", "subject": "{SUBJECT}", "until": "{until}", "opened_at":
            "2026-01-01T00:00:00Z", "reason": {{"code": "failure_rate", "percent": 60, "calls": 20}}, "level": 3, "resets": 0 {more}}}]}}"#
        )
    }

    fn left(invokers: &Invokers) -> Option<Duration> {
        let target = invokers.all().first()?.targets().first()?.clone();
        Some(target.open_breaker()?.until - Instant::now().into_std())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_open_outlives_the_process_with_its_reason_and_level() {
        let place = TempFile::new();
        let before = clean();
        let _keep = OwnedTask::spawn(keep(before.clone(), place.0.clone()));
        tokio::task::yield_now().await;
        let target = before.insert("clean").target(&SUBJECT.into());
        let settings = Settings::new(
            Kind::Pre,
            Duration::from_secs(1),
            &BreakerOverrides::default(),
        );
        while let Ok(permit) = target.permit(Mode::Normal, &settings) {
            permit.finish(Outcome::Failure, Duration::ZERO);
        }
        while !place.0.exists() {
            sleep(Duration::from_millis(10)).await;
        }
        let after = clean();
        reopen(&after, &place.0);
        assert!(
            left(&after).is_some_and(|left| left > Duration::from_secs(2)),
            "{:?}",
            left(&after)
        );
        let again = after.insert("clean").target(&SUBJECT.into());
        let open = again.open_breaker().unwrap();
        assert_eq!(
            (open.level, open.last.reason, open.last.class),
            (
                1,
                OpenReason::FailuresInARow { failures: 5 },
                Some(FailureKind::ServerError)
            )
        );
        assert!(again.permit(Mode::Normal, &settings).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_clock_keeps_nobody_back_for_longer_than_an_open_time() {
        let minute = Duration::from_secs(60);
        let wall = SystemTime::now();
        for (until, longest) in [
            (wall + minute * 60 * 24 * 365, 30),
            (wall + Duration::from_secs(20), 20),
        ] {
            let place = TempFile::holding(&line(until, ""));
            let invokers = clean();
            reopen(&invokers, &place.0);
            let left = left(&invokers).expect("open").as_secs_f64();
            assert!(
                left <= f64::from(longest) && left > f64::from(longest - 5),
                "{left}"
            );
        }
        let place = TempFile::holding(&line(wall - minute, ""));
        let invokers = clean();
        reopen(&invokers, &place.0);
        assert!(
            invokers.all().is_empty(),
            "it is over, and nothing is made of it"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_business_here_is_passed_over() {
        let ahead = SystemTime::now() + Duration::from_secs(20);
        let good = line(ahead, "");
        let foreign = [
            good.replace(SUBJECT, "p.ext.pre.other.v1"),
            good.replace("\"clean\"", "\"gone\""),
            good.replace("\"format\": 1", "\"format\": 2"),
            good.replace("failure_rate", "melted"),
            good.replace("\"resets\": 0", "\"resets\": 1"),
            good.replace("\"level\": 3", "\"level\": -3"),
            good.chars().take(good.len() / 2).collect(),
            String::new(),
            "null".to_owned(),
            "[".repeat(100_000),
        ];
        for text in foreign {
            let place = TempFile::holding(&text);
            let invokers = clean();
            reopen(&invokers, &place.0);
            assert!(invokers.all().is_empty(), "{text:.300}");
        }
        let place = TempFile::holding(&good);
        let invokers = clean();
        reopen(&invokers, &place.0);
        assert!(
            left(&invokers).is_some(),
            "but for those mistakes it is read"
        );
        for (class, known) in [
            (r#", "class": "429""#, Some(FailureKind::RateLimited)),
            (r#", "class": "melted""#, None),
            (r#", "else": 1"#, None),
        ] {
            let place = TempFile::holding(&line(ahead, class));
            let invokers = clean();
            reopen(&invokers, &place.0);
            let target = invokers.all()[0].targets()[0].clone();
            assert_eq!(target.open_breaker().unwrap().last.class, known, "{class}");
        }
        reopen(&clean(), &std::env::temp_dir());
    }
}
