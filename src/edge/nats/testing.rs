//! A NATS server of the test's own on a free port, and a wire to it that can be cut and made slow.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::BytesMut;
use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{NatsConfig, Overrides, load_from};

/// Far beyond what anything here takes; reaching it means that something never happens.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

pub(crate) struct Server {
    process: Child,
    directory: TempDir,
    pub(crate) url: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With JetStream, which keeps its store over [`Self::restart`].
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let (process, url) = launch(directory.path(), "-1", true, arguments).await;
        Self {
            process,
            directory,
            url,
        }
    }

    pub(crate) async fn start_without_jetstream() -> Self {
        let directory = TempDir::new().unwrap();
        let (process, url) = launch(directory.path(), "-1", false, &[]).await;
        Self {
            process,
            directory,
            url,
        }
    }

    /// Two servers that know each other, without JetStream.
    pub(crate) async fn start_two() -> [Self; 2] {
        let first = Self::start_in_cluster("").await;
        let second = Self::start_in_cluster(&first.read_ports("cluster").unwrap()).await;
        [first, second]
    }

    async fn start_in_cluster(route: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("cluster.conf");
        let settings =
            format!("cluster {{ name: test, listen: \"127.0.0.1:-1\", routes: [{route:?}] }}");
        std::fs::write(&file, settings.replace("[\"\"]", "[]")).unwrap();
        let (process, url) = launch(
            directory.path(),
            "-1",
            false,
            &["-c", file.to_str().unwrap()],
        )
        .await;
        Self {
            process,
            directory,
            url,
        }
    }

    fn read_ports(&self, kind: &str) -> Option<String> {
        read_ports(
            &self
                .directory
                .path()
                .join(format!("nats-server_{}.ports", self.process.id())),
            kind,
        )
    }

    /// It announces its end, takes no new clients, and turns out those that it has after ten seconds.
    pub(crate) fn lame_duck(&self) {
        self.signal(Signal::SIGUSR2);
    }

    /// On the same port, with JetStream and its store.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let port = self.url.rsplit(':').next().unwrap().to_owned();
        (self.process, self.url) = launch(self.directory.path(), &port, true, &[]).await;
    }

    pub(crate) async fn client(&self) -> Client {
        async_nats::connect(&self.url).await.unwrap()
    }

    /// The process keeps its sockets and does nothing. Returns when it really stands still.
    pub(crate) async fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let pid = self.process.id().to_string();
        let stopped = || {
            let state = Command::new("ps")
                .args(["-o", "stat=", "-p", &pid])
                .output()
                .expect("ps must be on the PATH");
            state.stdout.starts_with(b"T")
        };
        until("the server stands still", stopped).await;
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.process.id()).unwrap()),
            signal,
        )
        .unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn launch(
    directory: &Path,
    port: &str,
    jetstream: bool,
    arguments: &[&str],
) -> (Child, String) {
    let mut command = Command::new("nats-server");
    command
        .args(["-a", "127.0.0.1", "-p", port, "--ports_file_dir"])
        .arg(directory)
        .args(arguments);
    if jetstream {
        command.arg("-js").arg("-sd").arg(directory);
    }
    let process = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server must be on the PATH");
    let ports = directory.join(format!("nats-server_{}.ports", process.id()));
    let url = eventually("the server writes its ports", || read_ports(&ports, "nats")).await;
    (process, url)
}

fn read_ports(file: &Path, kind: &str) -> Option<String> {
    let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    ports[kind][0].as_str().map(str::to_owned)
}

/// A way to the server that can be cut and mended; while it is cut, connections are closed as soon as they are made.
pub(crate) struct Wire {
    pub(crate) url: String,
    open: watch::Sender<bool>,
    lag: watch::Sender<Duration>,
    refused: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

impl Wire {
    pub(crate) async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let target = server.url.strip_prefix("nats://").unwrap().to_owned();
        let (open, state) = watch::channel(true);
        let (lag, lagging) = watch::channel(Duration::ZERO);
        let (count_refused, refused) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(join(near, target.clone(), state.clone(), lagging.clone()));
                } else {
                    count_refused.send_modify(|count| *count += 1);
                }
            }
        });
        Self {
            url,
            open,
            lag,
            refused,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// What the server says comes so much later.
    pub(crate) fn lag(&self, lag: Duration) {
        self.lag.send_replace(lag);
    }

    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Returns when somebody has tried to connect in vain.
    pub(crate) async fn refused(&self) {
        within(
            "somebody tries to connect",
            self.refused.clone().wait_for(|count| *count > 0),
        )
        .await
        .unwrap();
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn join(
    near: TcpStream,
    target: String,
    mut open: watch::Receiver<bool>,
    lag: watch::Receiver<Duration>,
) {
    let far = TcpStream::connect(target).await.unwrap();
    let ((mut from_near, to_near), (from_far, mut to_far)) = (near.into_split(), far.into_split());
    tokio::select! {
        _ = copy(&mut from_near, &mut to_far) => {}
        () = pass_late(from_far, to_near, lag) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

/// Each piece as much later as `lag` says when it comes.
async fn pass_late(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    lag: watch::Receiver<Duration>,
) {
    let (pieces, mut delayed) = mpsc::unbounded_channel::<(Instant, BytesMut)>();
    let read = async move {
        let mut piece = BytesMut::with_capacity(64 * 1024);
        while from.read_buf(&mut piece).await.is_ok_and(|bytes| bytes > 0) {
            let due = Instant::now() + *lag.borrow();
            let _ = pieces.send((due, piece.split()));
        }
    };
    let write = async move {
        while let Some((due, piece)) = delayed.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

/// Subscribes, and returns when the server knows it: it handles the commands of one connection in order.
pub(crate) async fn subscribe(client: &Client, subject: &'static str) -> Subscriber {
    let subscriber = client.subscribe(subject).await.unwrap();
    let inbox = client.new_inbox();
    let mut own = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, "".into()).await.unwrap();
    within("the subscription stands", own.next()).await.unwrap();
    subscriber
}

pub(crate) fn config(url: &str) -> NatsConfig {
    config_with(url, &[])
}

pub(crate) fn config_with(url: &str, more: &[(&str, &str)]) -> NatsConfig {
    let set = [("nats.url", url)]
        .iter()
        .chain(more)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    load_from(
        &Overrides {
            set,
            ..Overrides::default()
        },
        [],
    )
    .expect("a good configuration")
    .nats
}

/// Tries until there is something, up to the limit.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let tries = async {
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            sleep(POLL).await;
        }
    };
    timeout(LIMIT, tries)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

/// Waits until a condition holds, up to the limit.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || condition().then_some(())).await;
}

/// What must end, up to the limit.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}
