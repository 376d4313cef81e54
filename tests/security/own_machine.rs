//! `up` on a machine that others use as well: who gets into its NATS server, what others read, and
//! whom a command asks that is typed in somebody else's folder.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use async_nats::ConnectOptions;
use beamline_test_support::{
    LIMIT, Nats, Process, RouterProcess, Up, eventually, program, until, within, without_foreign,
};
use serde_json::json;
use tempfile::TempDir;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

#[tokio::test]
async fn a_stranger_on_the_machine_joins_the_bus_of_up() {
    let up = Up::start().await;
    let wrong = ConnectOptions::with_user_and_password("beamline".into(), "guessed".into());
    for stranger in [ConnectOptions::new(), wrong] {
        let refused = within("an answer", stranger.connect(&up.nats_url)).await;
        let error = refused.expect_err("nobody gets in without the login");
        assert!(error.to_string().contains("authorization"), "{error}");
    }
    up.client().await;
}

#[tokio::test]
async fn the_password_of_up_is_looked_for_where_everybody_can_look() {
    let up = Up::start().await;
    until("the summary", || up.process.log().contains(".beamline/env")).await;
    let secrets = [
        up.variable("NATS_PASSWORD"),
        fs::read_to_string(up.state().join("admin.key")).expect("a key"),
    ];
    let mut places: Vec<String> = up.children().into_iter().map(|(_, line)| line).collect();
    let printed = up.run(&["config", "print"]);
    places.extend([up.process.log(), said(&printed)]);
    places.push(fs::read_to_string(up.state().join("up.json")).expect("it is announced"));
    for log in files_below(&up.state().join("logs")) {
        places.push(fs::read_to_string(log).expect("a log"));
    }
    for place in &places {
        let shown = secrets.iter().any(|secret| place.contains(secret.trim()));
        assert!(!shown, "{place}");
    }
}

#[tokio::test]
async fn others_read_and_change_what_up_keeps() {
    let directory = TempDir::new().expect("a directory");
    // As a release before has left it.
    let state = directory.path().join(".beamline");
    fs::create_dir_all(state.join("logs")).expect("a directory");
    fs::write(state.join("nats.port"), "0\n").expect("a file");
    for (path, mode) in [("", 0o777), ("logs", 0o775), ("nats.port", 0o664)] {
        set_mode(&state.join(path), mode);
    }
    let up = Up::start_in(directory, &[]).await;
    let answer = up.run(&["request", "--tenant", "demo", "hi"]);
    assert!(answer.status.success(), "{}", said(&answer));
    let all = files_below(&state);
    assert!(all.len() > 10, "{all:?}");
    for path in all.iter().chain([&state]) {
        let mode = fs::symlink_metadata(path)
            .expect("it is there")
            .permissions();
        let open = mode.mode() & 0o077;
        assert_eq!(open, 0, "{} has mode {:o}", path.display(), mode.mode());
    }
}

/// With the folders.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// A folder in which somebody says that `up` runs, and a server that notes who comes.
struct Trap {
    folder: TempDir,
    listener: TcpListener,
    _lock: File,
}

impl Trap {
    /// On an address that is not only this machine's.
    fn set() -> Self {
        let folder = TempDir::new().expect("a directory");
        let state = folder.path().join(".beamline");
        fs::create_dir(&state).expect("a directory");
        set_mode(&state, 0o700);
        let lock = File::open(&state).expect("a handle");
        lock.lock().expect("nobody has it");
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("it can");
        let trap = Self {
            folder,
            listener,
            _lock: lock,
        };
        fs::write(trap.announcement(), trap.says("127.0.0.1")).expect("a file");
        set_mode(&trap.announcement(), 0o600);
        trap
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join(".beamline")
    }

    fn announcement(&self) -> PathBuf {
        self.state().join("up.json")
    }

    fn says(&self, host: &str) -> String {
        let port = self.listener.local_addr().expect("an address").port();
        let url = format!("nats://{host}:{port}");
        json!({"nats_url": url, "subject_prefix": "beamline", "http": "127.0.0.1:1", "pid": 1})
            .to_string()
    }

    /// What a person types there who has a key for another router.
    fn type_a_command(&self) -> Output {
        let mut command = Command::new(program("beamline-router"));
        without_foreign(&mut command);
        command
            .args(["--timeout", "2s", "ext", "disable", "pii_guard"])
            .current_dir(self.folder.path())
            .env("BEAMLINE__ADMIN__API_KEY", "a-key-of-enough-length")
            .output()
            .expect("it runs")
    }

    /// Whether somebody has come by now.
    fn is_sprung(&self) -> bool {
        self.listener.accept().is_ok()
    }
}

#[tokio::test]
async fn a_folder_says_that_up_runs_on_another_machine() {
    let good = Trap::set();
    good.type_a_command();
    assert!(good.is_sprung(), "what is one's own is followed");

    let elsewhere = Trap::set();
    // The second one is this machine too, but who says so of every name?
    for host in ["0.0.0.0", "localhost"] {
        fs::write(elsewhere.announcement(), elsewhere.says(host)).expect("a file");
        let output = elsewhere.type_a_command();
        assert!(!elsewhere.is_sprung(), "{host}");
        assert!(
            said(&output).contains("is not followed"),
            "{}",
            said(&output)
        );
    }
}

#[tokio::test]
async fn a_folder_of_others_says_that_up_runs() {
    for what in [
        "a link",
        "a writable file",
        "a writable folder",
        "a linked folder",
    ] {
        let trap = Trap::set();
        let other = trap.folder.path().join("other");
        match what {
            "a link" => {
                fs::rename(trap.announcement(), &other).expect("moved");
                symlink(&other, trap.announcement()).expect("a link");
            }
            "a writable file" => set_mode(&trap.announcement(), 0o666),
            "a writable folder" => set_mode(&trap.state(), 0o777),
            _ => {
                fs::rename(trap.state(), &other).expect("moved");
                symlink(&other, trap.state()).expect("a link");
            }
        }
        let output = trap.type_a_command();
        assert!(!trap.is_sprung(), "{what}");
        let said = said(&output);
        assert!(
            said.contains("is not followed") && said.contains("--nats-url"),
            "{what}: {said}"
        );
    }
}

#[tokio::test]
async fn a_state_folder_leads_somewhere_else() {
    let directory = TempDir::new().expect("a directory");
    let state = directory.path().join(".beamline");
    let other = directory.path().join("other");
    fs::create_dir(&other).expect("a directory");
    let start = async || {
        let mut command = Command::new(program("beamline-router"));
        command
            .args(["up", "--no-demo"])
            .current_dir(directory.path());
        let mut up = Process::start(command, directory.path().join("up.log"));
        assert!(!up.wait_exit(LIMIT).await.success(), "{}", up.log());
        up.log()
    };
    symlink(&other, &state).expect("a link");
    let refused = start().await;
    assert!(
        refused.contains("link") && refused.contains("--state-dir"),
        "{refused}"
    );
    assert!(fs::read_dir(&other).expect("a folder").next().is_none());

    // The database is a file of somebody else's choice.
    fs::remove_file(&state).expect("a link");
    fs::create_dir(&state).expect("a directory");
    symlink(other.join("chosen"), state.join("registry.db")).expect("a link");
    let refused = start().await;
    assert!(refused.contains("link"), "{refused}");
    assert!(!other.join("chosen").exists());
}

#[tokio::test]
async fn others_put_links_where_a_router_writes() {
    let nats = Nats::start().await;
    let mut router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let state = PathBuf::from(router.setting("router.state_dir"));
    let victim = state.join("victim");
    router.kill();
    let kept = ["registry-snapshot.json", "open-breakers.json"];
    fs::write(&victim, "somebody's").expect("a file");
    for name in kept {
        let _ = fs::remove_file(state.join(name));
        symlink(&victim, state.join(name)).expect("a link");
    }
    set_mode(&state, 0o777);
    router.respawn();
    router.until_ready().await;
    eventually(LIMIT, "the snapshot is kept", async || {
        let found = fs::symlink_metadata(state.join(kept[0])).ok()?;
        found.is_file().then_some(())
    })
    .await;
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "somebody's");
    for path in [&state, &state.join(kept[0]), &state.join("router.lock")] {
        let mode = fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o022, 0, "{} has mode {mode:o}", path.display());
    }
}
