//! What the server does not let this router do. It says so beside the calls and answers nothing, so
//! that without this a missing permission would look like an extension that hangs, or like a router
//! that nobody asks for anything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast;
use tracing::error;

use super::events::Report;

/// A subject that needs a permission which the router's user does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    Publish(Arc<str>),
    Subscribe(Arc<str>),
}

impl Denied {
    /// Reads the text of nats-server (`-ERR 'Permissions Violation for Publish to "a.b"'`); nothing
    /// for other errors.
    pub(super) fn read(text: &str) -> Option<Self> {
        let quoted = |rest: &str| Some(Arc::from(rest.strip_prefix('"')?.split('"').next()?));
        let of = |prefix: &str| text.strip_prefix(prefix).and_then(quoted);
        of("Permissions Violation for Publish to ")
            .map(Self::Publish)
            .or_else(|| of("Permissions Violation for Subscription to ").map(Self::Subscribe))
    }
}

/// What was denied on the connection of the moment.
#[derive(Debug)]
pub(super) struct Denials {
    publishing: broadcast::Sender<Arc<str>>,
    published: Mutex<BTreeSet<Arc<str>>>,
    subscriptions: Mutex<BTreeSet<Arc<str>>>,
    report: Mutex<Report>,
}

/// Denials that a reader may be behind. Who misses one waits out the time of its call.
const BEHIND: usize = 256;
/// The router has a handful of subscriptions that stay, made first; inboxes of single questions are
/// without end.
const REMEMBERED: usize = 1_000;
/// Whoever grants permissions does not do it within seconds.
const REPORT_EVERY: Duration = Duration::from_secs(60);

impl Default for Denials {
    fn default() -> Self {
        let (publishing, _) = broadcast::channel(BEHIND);
        Self {
            publishing,
            published: Mutex::default(),
            subscriptions: Mutex::default(),
            report: Mutex::new(Report::every(REPORT_EVERY)),
        }
    }
}

impl Denials {
    pub(super) fn take(&self, denied: Denied) {
        match denied {
            Denied::Publish(subject) => {
                if self.report.lock().is_due() {
                    error!(
                        subject = &*subject,
                        code = "config_error",
                        "NATS does not let this router publish there: grant it to its user, or correct the subject"
                    );
                }
                remember(&mut self.published.lock(), Arc::clone(&subject));
                // Nobody may be waiting.
                let _ = self.publishing.send(subject);
            }
            Denied::Subscribe(subject) => {
                error!(
                    subject = &*subject,
                    code = "config_error",
                    "NATS does not let this router subscribe there: grant it to its user, then restart the router"
                );
                remember(&mut self.subscriptions.lock(), subject);
            }
        }
    }

    /// All of it, as the end of "does not let this router ..".
    pub(super) fn all(&self) -> Vec<String> {
        let published = self.published.lock();
        let published = published
            .iter()
            .map(|subject| format!("publish to {subject}"));
        let subscriptions = self.subscriptions.lock();
        let subscriptions = subscriptions
            .iter()
            .map(|subject| format!("subscribe to {subject}"));
        published.chain(subscriptions).collect()
    }

    /// Another connection may do other things; what it must not do will be said again.
    pub(super) fn forget(&self) {
        self.published.lock().clear();
        self.subscriptions.lock().clear();
    }

    /// Subjects that a call was denied, from now on.
    pub(super) fn publishing(&self) -> broadcast::Receiver<Arc<str>> {
        self.publishing.subscribe()
    }

    /// Whether a subscription is missing.
    pub(super) fn subscription_denied(&self) -> bool {
        !self.subscriptions.lock().is_empty()
    }
}

fn remember(denied: &mut BTreeSet<Arc<str>>, subject: Arc<str>) {
    if denied.len() < REMEMBERED {
        denied.insert(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_say() {
        let publish = |subject: &str| Some(Denied::Publish(subject.into()));
        let subscribe = |subject: &str| Some(Denied::Subscribe(subject.into()));
        assert_eq!(
            Denied::read(r#"Permissions Violation for Publish to "a.b""#),
            publish("a.b")
        );
        assert_eq!(
            Denied::read(r#"Permissions Violation for Subscription to "a.>""#),
            subscribe("a.>")
        );
        let queue = r#"Permissions Violation for Subscription to "a.b" using queue "q""#;
        assert_eq!(Denied::read(queue), subscribe("a.b"));
        for other in [
            "",
            "Stale Connection",
            "Permissions Violation for Publish to nothing",
        ] {
            assert_eq!(Denied::read(other), None, "{other}");
        }
    }

    #[test]
    fn denied_inboxes_do_not_pile_up() {
        let denials = Denials::default();
        denials.take(Denied::Subscribe("beamline.router.v1.route".into()));
        for n in 0..2 * REMEMBERED {
            denials.take(Denied::Subscribe(format!("_INBOX.{n}").into()));
        }
        assert_eq!(denials.subscriptions.lock().len(), REMEMBERED);
        assert!(denials.subscription_denied());
    }

    #[test]
    fn another_connection_starts_without_denials() {
        let denials = Denials::default();
        denials.take(Denied::Subscribe("beamline.router.v1.route".into()));
        assert!(denials.subscription_denied());
        denials.forget();
        assert!(!denials.subscription_denied());
    }
}
