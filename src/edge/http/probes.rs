//! `/healthz`, `/readyz` and `/metrics`.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use beamline_actors::fail_points;
use serde::Serialize;

use super::format::Format;
use super::problem::Problem;

/// Where the answers come from. Both must return at once: they read what is known.
#[derive(Clone)]
pub struct Probes {
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Text in the OpenMetrics format; nothing before there are figures.
    pub metrics: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl Probes {
    /// Of a router that starts.
    pub(super) fn starting() -> Self {
        let readiness = Readiness {
            nats: false,
            registry: false,
            draining: false,
            revision: 0,
            registry_source: "none",
            stale_seconds: 0,
        };
        Self {
            readiness: Arc::new(move || readiness.clone()),
            metrics: Arc::new(|| None),
        }
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

/// Whether this router should get requests, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The connection to NATS stands.
    pub nats: bool,
    /// There is a snapshot of the registry to work with, however old.
    pub registry: bool,
    /// The router is stopping.
    pub draining: bool,
    /// Of the store, as far as this router has it.
    pub revision: u64,
    /// Where the snapshot came from: `store`, `disk`, or `none` while there is none.
    pub registry_source: &'static str,
    /// For how long the snapshot could not be compared with the store; 0 while it can.
    pub stale_seconds: u64,
}

impl Readiness {
    /// An old snapshot is better than no answer: being stale does not count.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.nats && self.registry && !self.draining
    }
}

const HEALTHZ: &str = "/healthz";
const READYZ: &str = "/readyz";
const METRICS: &str = "/metrics";
/// The paths of [`routes`].
pub(super) const PATHS: [&str; 3] = [HEALTHZ, READYZ, METRICS];

/// Without a fallback: what else there is depends on where they are served.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(probes: Probes) -> Router<S> {
    Router::new()
        .route(
            HEALTHZ,
            get(async || uncached(StatusCode::OK, &serde_json::json!({"status": "ok"}))),
        )
        .route(READYZ, get(readyz))
        .route(METRICS, get(metrics))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "Use one of the methods in the Allow header.",
            )
        })
        .with_state(probes)
}

/// To everything but the other two probes.
pub(super) fn starting() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This router starts, and waits for its database or for NATS. /readyz says when it is ready.",
    )
}

async fn readyz(State(probes): State<Probes>) -> Response {
    #[derive(Serialize)]
    struct Body {
        status: &'static str,
        #[serde(flatten)]
        readiness: Readiness,
    }
    let readiness = (probes.readiness)();
    let (code, status) = if readiness.ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    uncached(code, &Body { status, readiness })
}

async fn metrics(State(probes): State<Probes>, headers: HeaderMap) -> Response {
    fail_points::reached("metrics");
    let format = Format::asked_for(&headers);
    match (probes.metrics)() {
        Some(openmetrics) => {
            let headers = [
                (header::CONTENT_TYPE, format.content_type()),
                (header::VARY, HeaderValue::from_static("Accept")),
            ];
            (headers, format.of(openmetrics)).into_response()
        }
        None => starting().into_response(),
    }
}

/// A probe that was answered from somebody's cache would be worse than none.
fn uncached(code: StatusCode, body: &impl Serialize) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (code, headers, serde_json::to_vec(body).unwrap_or_default()).into_response()
}
