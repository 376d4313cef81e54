//! `up`: everything a router needs on one machine, started together and stopped together.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beamline_contract::admin::SupervisionTree;
use beamline_contract::request::{RequestBody, RequestMessage, VERSION};
use clap::Args;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::client::{Answer, Client};
use super::stops::{INTERRUPTED, Stops};
use super::{Console, Failure, document, serve};
use crate::config::Config;
use crate::own_files;
use crate::router::Router;
use crate::up::state::{self, Running, StateDir};
use crate::up::{self, Companions, UpError, demo};

mod summary;

use summary::Summary;

/// What `up` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// The nats-server program; without it, the one on the PATH or in STATE_DIR/bin
    #[arg(long, value_name = "PATH")]
    pub nats_server: Option<PathBuf>,

    /// The port of NATS; without it, that of earlier runs in this state directory, or a free one
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub nats_port: Option<u16>,

    /// Where the database and the logs of this instance are kept
    #[arg(long, value_name = "DIR", default_value = state::DEFAULT)]
    pub state_dir: PathBuf,

    /// Address of metrics and probes; short for --set http.listen=... [default: 127.0.0.1:8080, or
    /// a free port if that is taken]
    #[arg(long, value_name = "ADDRESS")]
    pub http_listen: Option<SocketAddr>,

    /// Start the reference extensions, which the demo policy uses (the default)
    #[arg(long, overrides_with = "no_demo")]
    demo: bool,

    /// Start no extensions; requests need some that run elsewhere
    #[arg(long, overrides_with = "demo")]
    no_demo: bool,
}

impl UpArgs {
    /// Whether the reference extensions and the demo policy are wanted; of the two flags the last
    /// one counts.
    #[must_use]
    pub fn demo(&self) -> bool {
        self.demo || !self.no_demo
    }
}

/// For each question to the router just started.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Starts everything, and stops all of it on Ctrl-C.
pub async fn run(config: Config, args: UpArgs, console: Console) -> Result<(), Failure> {
    let mut stops = Stops::new()?;
    own_files::close_new_files();
    for key in up::ignored(&config) {
        console.warn(&format!(
            "{key} is configured, but `up` brings its own. `serve` uses the configuration."
        ));
    }
    let state = StateDir::open(&args.state_dir).await?;
    let _log = up::log::start(&state, &config.telemetry.log_filter)?;
    let mut stack = Stack {
        companions: Companions::new(state),
        router: None,
    };
    let outcome = tokio::select! {
        outcome = stack.serve(config, &args, console) => outcome,
        () = stops.wish() => Ok(()),
    };
    tokio::select! {
        stopped = stack.stop() => outcome.and(stopped),
        () = stops.impatience() => std::process::exit(INTERRUPTED),
    }
}

/// Everything that was started so far.
struct Stack {
    companions: Companions,
    router: Option<Router>,
}

impl Stack {
    /// Starts everything in its order, says so, and ends only when the router gives up.
    async fn serve(
        &mut self,
        mut config: Config,
        args: &UpArgs,
        console: Console,
    ) -> Result<(), Failure> {
        let overridden = up::ignored(&config).contains(&"nats.url");
        let nats_taken = self
            .companions
            .start_nats(args.nats_server.as_deref(), args.nats_port, &mut config)
            .await?;
        if args.demo() {
            self.companions.start_extensions(&config).await?;
        }
        let taken = up::choose_http(&mut config);
        let router = Router::start(config.clone()).await?;
        let router = self.router.insert(router);

        let client = Client::connect(&config, PATIENCE).await?;
        let tree = patiently(|| client.admin(&SupervisionTree {})).await?;
        if args.demo() && tree.read()?.router.revision == demo::REVISION {
            probe(&client).await?;
        }
        let running = Running {
            nats_url: config.nats.url,
            subject_prefix: config.nats.subject_prefix,
            http: router.http_address(),
            pid: std::process::id(),
        };
        announce(self.companions.state(), &running)?;
        let summary = Summary {
            running: &running,
            state_dir: &args.state_dir,
            taken,
            nats_taken,
            demo: args.demo(),
            default_place: is_default_place(self.companions.state().path()),
            overridden,
        };
        console.answer(&summary.document(), || Ok(summary.text()))?;

        router.ended().await;
        Err(Failure::GaveUp(format!(
            "the router gave up after too many restarts. Its log is {}.",
            self.companions.state().log_file(up::log::ROUTER).display()
        )))
    }

    /// The router drains while its extensions still answer; NATS ends last.
    async fn stop(self) -> Result<(), Failure> {
        self.companions.state().withdraw();
        let report = match self.router {
            Some(router) => Some(router.stop().await),
            None => None,
        };
        self.companions.stop().await;
        report.map_or(Ok(()), serve::outcome)
    }
}

/// One request through the whole pipeline, while all of it is ours: somebody's own policy may lead
/// to a provider that costs money. A refusal is an answer too.
async fn probe(client: &Client) -> Result<(), Failure> {
    let request = probe_request()?;
    match patiently(|| client.route(&request, PATIENCE)).await {
        Ok(_answer) => Ok(()),
        Err(Failure::Refused(refusal)) => {
            info!(
                refusal = Failure::Refused(refusal).sentence(),
                "the demo request was refused"
            );
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

fn probe_request() -> Result<RequestBody<'static>, Failure> {
    Ok(RequestBody {
        version: VERSION.into(),
        tenant_id: Some(demo::TENANT.into()),
        policy_id: Some(demo::POLICY.into()),
        request_id: "up-probe".into(),
        message: Some(RequestMessage {
            message_id: Some("up-probe".into()),
            message_type: Some("chat".into()),
            payload: Some(Cow::Owned(document::string(demo::MESSAGE)?)),
            metadata: Cow::default(),
        }),
        ..RequestBody::default()
    })
}

/// Asks again while nobody answers: a subscription takes a moment to reach the server.
async fn patiently<A, F>(mut ask: impl FnMut() -> F) -> Result<Answer<A>, Failure>
where
    F: Future<Output = Result<Answer<A>, Failure>>,
{
    let give_up = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(failure) if is_silence(&failure) && Instant::now() < give_up => sleep(POLL).await,
            answer => return answer,
        }
    }
}

fn is_silence(failure: &Failure) -> bool {
    failure.exit_code() == 5
}

fn announce(state: &StateDir, running: &Running) -> Result<(), Failure> {
    let place = state::announcement_in(state.path());
    state.announce(running).map_err(|error| {
        Failure::Failed(format!("{} cannot be written: {error}.", place.display()))
    })
}

/// Whether commands in the present directory look there by themselves.
fn is_default_place(state: &Path) -> bool {
    Path::new(state::DEFAULT)
        .canonicalize()
        .is_ok_and(|default| default == state)
}

impl From<UpError> for Failure {
    fn from(error: UpError) -> Self {
        Self::Failed(error.to_string())
    }
}
