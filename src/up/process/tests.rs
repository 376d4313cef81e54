use std::fs;
use std::path::Path;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn shell(directory: &Path, script: &str) -> Spec {
    Spec {
        name: "script",
        program: "sh".into(),
        arguments: ["-c".into(), script.into()].into(),
        environment: vec![("PLACE", directory.as_os_str().to_owned())],
        withheld: &[],
        log: directory.join("log"),
        grace: Duration::from_secs(20),
        guarded: false,
    }
}

async fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let tries = async {
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, tries)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Gone, or dead and waiting for somebody to take note of it.
fn is_gone(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test]
async fn a_program_that_ends_is_started_again_until_it_is_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let starts = directory.path().join("starts");
    let spec = shell(
        directory.path(),
        r#"echo $$ >> "$PLACE/starts"; [ $(wc -l < "$PLACE/starts") -ge 3 ] && exec sleep 600"#,
    );
    let supervised = Supervised::keep(spec.spawn().expect("sh"), spec);
    until("the third start", || {
        (lines(&starts).len() == 3).then_some(())
    })
    .await;
    supervised.stop().await;
    let pids = lines(&starts);
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| is_gone(pid)), "{pids:?}");
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut spec = shell(
        directory.path(),
        r#"trap "" TERM; echo $$ > "$PLACE/pid"; while :; do sleep 1; done"#,
    );
    spec.grace = Duration::from_millis(50);
    let supervised = Supervised::keep(spec.spawn().expect("sh"), spec);
    let pid = until("it runs", || lines(&directory.path().join("pid")).pop()).await;
    supervised.stop().await;
    assert!(is_gone(&pid));
}

#[tokio::test]
async fn a_guarded_program_ends_when_the_pipe_closes() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut spec = shell(
        directory.path(),
        r#"echo $$ > "$PLACE/pid"; exec sleep 600"#,
    );
    spec.guarded = true;
    let mut running = spec.spawn().expect("sh");
    let pid = until("it runs", || lines(&directory.path().join("pid")).pop()).await;
    assert_eq!(
        running.id().map(|id| id.to_string()).as_ref(),
        Some(&pid),
        "the program keeps the number of its guard"
    );
    drop(running.stdin.take());
    let status = timeout(LIMIT, running.child.wait())
        .await
        .expect("it ends")
        .expect("a status");
    assert!(!status.success());
    assert!(is_gone(&pid));
}
